//! The key ring's metrics.

use crate::{
    attribution::keyring::{KeyRole, Keyring},
    metrics::{self, KEYRING_FINGERPRINT, KEYRING_KEYS},
};

/// The gauges of the served ring. They are updated at each load and at least each minute, because roles change with
/// time.
#[derive(Clone)]
pub struct KeyringMetrics {
    fingerprint: ::metrics::Gauge,
    keys_by_role: [::metrics::Gauge; KeyRole::ALL.len()],
}

impl Default for KeyringMetrics {
    fn default() -> KeyringMetrics {
        KeyringMetrics {
            fingerprint: metrics::gauge(&KEYRING_FINGERPRINT, &[]),
            keys_by_role: KeyRole::ALL.map(|role| metrics::gauge(&KEYRING_KEYS, &[role.as_str()])),
        }
    }
}

impl KeyringMetrics {
    /// Shows this ring, with the keys' roles at this time.
    pub fn set_fingerprint_and_role_gauges(&self, ring: &Keyring, now_ms: u64) {
        self.fingerprint.set(ring.fingerprint() as f64);
        for (role, gauge) in KeyRole::ALL.iter().zip(&self.keys_by_role) {
            gauge.set(ring.key_statuses_newest_first(now_ms).filter(|status| status.role == *role).count() as f64);
        }
    }
}
