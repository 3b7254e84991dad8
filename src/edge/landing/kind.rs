//! The pages that lead on in place of a redirect.

use crate::edge::landing::exit::Exit;

/// A page that leads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge) enum LandingPage {
    /// Leads out of an app's own browser.
    OpenOutside(Exit),
    /// Tries the app of the destination, then goes to the web.
    TryApp,
}
