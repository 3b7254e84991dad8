//! Where a click lands that is more than a redirect to the link's own URL: on a link with targets, and in an app's own
//! browser that the domain leaves.
//!
//! [`choice`] chooses the target and makes the destination, and decides whether a page leads on in place of the
//! redirect ([`kind`]): one that leaves the app's browser by an [`exit`], or one that tries the destination's app and
//! then goes to the web. [`page`] writes it, in the language of [`texts`] that the buyer prefers. Either page has a
//! link that leads on without script, and carries the token of the one click that was recorded.

pub(super) mod choice;
pub(super) mod exit;
pub(super) mod kind;
pub(super) mod page;
mod texts;
