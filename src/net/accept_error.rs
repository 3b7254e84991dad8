//! What to do after a failed `accept`: its class, which is a metric label, and the pause before the next attempt.

use std::{io, time::Duration};

use rustix::io::Errno;

use crate::word_enum::word_enum;

word_enum! {
    /// The class of a failed accept: the label values of `waypost_accept_errors_total`.
    pub(super) enum AcceptErrorClass {
        /// The limit of open files is reached.
        NoDescriptors = "no_descriptors",
        /// The kernel has no memory for the socket.
        NoMemory = "no_memory",
        /// The client went away between its TCP handshake and the accept.
        Aborted = "aborted",
        /// Any other error.
        Other = "other",
    }
}

/// A failed `accept`, classified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptError {
    pub(super) class: AcceptErrorClass,
    /// How long the accept loop waits before it accepts again. Zero: not at all.
    pub pause: Duration,
}

impl From<&io::Error> for AcceptError {
    fn from(error: &io::Error) -> AcceptError {
        let (class, pause_ms) = match error.raw_os_error().map(Errno::from_raw_os_error) {
            // An immediate retry finds no free descriptor either, and would be a busy loop.
            Some(Errno::MFILE | Errno::NFILE) => (AcceptErrorClass::NoDescriptors, 100),
            Some(Errno::NOBUFS | Errno::NOMEM) => (AcceptErrorClass::NoMemory, 100),
            Some(Errno::CONNABORTED | Errno::CONNRESET | Errno::PERM | Errno::PROTO) => (AcceptErrorClass::Aborted, 0),
            _ => (AcceptErrorClass::Other, 10),
        };
        AcceptError { class, pause: Duration::from_millis(pause_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_open_files_pause_the_accept_loop_and_a_client_gone_does_not() {
        let classify = |errno: Errno| AcceptError::from(&io::Error::from(errno));
        let expected = AcceptError { class: AcceptErrorClass::NoDescriptors, pause: Duration::from_millis(100) };
        assert_eq!(classify(Errno::MFILE), expected);
        let expected = AcceptError { class: AcceptErrorClass::Aborted, pause: Duration::ZERO };
        assert_eq!(classify(Errno::CONNABORTED), expected);
    }
}
