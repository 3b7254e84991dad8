//! Apps that open a host's links, and the association files that name them to phones.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An app that opens this host's links and asks Waypost to resolve them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppLinks {
    /// Apple application ids, `TEAMID.bundle.id`.
    pub apple: Vec<String>,
    /// Android packages.
    pub android: Vec<AndroidApp>,
}

/// An Android package and its certificates.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AndroidApp {
    /// `com.example.shop`
    pub package: String,
    /// SHA-256 fingerprints of its signing certificates, `AB:CD:…`.
    pub sha256: Vec<String>,
}

/// Bodies of the app association files, `application/json`; `None` answers 404.
#[derive(Clone, Debug, Default)]
pub struct AppAssociationFiles {
    /// `/.well-known/apple-app-site-association`
    pub apple: Option<Bytes>,
    /// `/.well-known/assetlinks.json`
    pub android: Option<Bytes>,
}

impl AppLinks {
    /// Checks that at least one app is named and each has its ids.
    pub(super) fn check_names_apps_with_ids(&self) -> Result<(), String> {
        if self.apple.is_empty() && self.android.is_empty() {
            return Err("names no app; give apple or android, or leave app_links out".to_owned());
        }
        if let Some(id) = self.apple.iter().find(|id| !id.contains('.')) {
            return Err(format!("{id:?} is not an Apple application id (TEAMID.bundle.id)"));
        }
        if let Some(app) = self.android.iter().find(|app| app.package.is_empty() || app.sha256.is_empty()) {
            return Err(format!("the Android app {:?} needs a package and at least one sha256", app.package));
        }
        Ok(())
    }

    /// The bodies of the app association files that name these apps.
    pub(super) fn build_association_files(&self) -> AppAssociationFiles {
        let apple = serde_json::json!({"applinks": {"details": [{"appIDs": self.apple, "components": [{"/": "/*"}]}]}});
        let android: Vec<_> = self
            .android
            .iter()
            .map(|app| {
                serde_json::json!({"relation": ["delegate_permission/common.handle_all_urls"], "target": {
                    "namespace": "android_app", "package_name": app.package, "sha256_cert_fingerprints": app.sha256}})
            })
            .collect();
        AppAssociationFiles {
            apple: (!self.apple.is_empty()).then(|| apple.to_string().into()),
            android: (!self.android.is_empty()).then(|| serde_json::Value::from(android).to_string().into()),
        }
    }
}
