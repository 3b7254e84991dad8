//! Logins that can never succeed, although librdkafka takes each of their settings.

use crate::invalid_value::InvalidValue;

/// Checks that the login has what it needs. `values` are the properties under the names that the user wrote.
///
/// # Errors
/// The key, and what to do.
pub(super) fn validate_login(values: &[(String, String)]) -> Result<(), InvalidValue> {
    let find = |keys: &[&str]| values.iter().find(|(key, _)| keys.contains(&key.as_str()));
    let Some((key, mechanism)) = find(&["sasl.mechanism", "sasl.mechanisms"]) else { return Ok(()) };
    let is_unsecured = find(&["enable.sasl.oauthbearer.unsecure.jwt"]).is_some_and(|(_, value)| value == "true");
    if mechanism.trim().eq_ignore_ascii_case("OAUTHBEARER") && !is_unsecured {
        let message = "OAUTHBEARER needs a token, and this build has no way to get one: it refreshes none, and \
                       librdkafka's `oidc` is not part of it; use SCRAM-SHA-512 or PLAIN over sasl_ssl, or a client \
                       certificate over ssl";
        return Err(InvalidValue::new(format!("properties.{key}"), message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)]) -> Result<(), InvalidValue> {
        let values: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        validate_login(&values)
    }

    #[test]
    fn oauthbearer_is_refused_because_no_token_can_be_had() {
        for key in ["sasl.mechanism", "sasl.mechanisms"] {
            let error = check(&[("security.protocol", "sasl_ssl"), (key, "OAUTHBEARER")]).unwrap_err();
            assert_eq!(error.key, format!("properties.{key}"));
            assert!(error.message.contains("use SCRAM-SHA-512"), "{}", error.message);
        }
        let oidc = [("sasl.mechanism", "oauthbearer"), ("sasl.oauthbearer.method", "oidc")];
        assert!(check(&oidc).is_err());
        // For tests of brokers: librdkafka makes the token itself.
        assert!(check(&[("sasl.mechanism", "OAUTHBEARER"), ("enable.sasl.oauthbearer.unsecure.jwt", "true")]).is_ok());
        assert!(check(&[("sasl.mechanism", "SCRAM-SHA-512")]).is_ok());
        assert!(check(&[]).is_ok());
    }
}
