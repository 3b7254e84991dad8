//! Random bytes for clicks.

use rand::{Rng, SeedableRng, rngs::StdRng, rngs::SysRng};

/// The random bytes of one click.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClickEntropy {
    /// For the click's id.
    pub click_id: [u8; 10],
    /// For the id of a new visitor.
    pub visitor_id: [u8; 16],
}

/// A worker's own generator of random bytes: ChaCha, seeded once by the system. A system call for each click would cost
/// 48 ns, even in batches.
pub struct EntropySource(StdRng);

impl EntropySource {
    /// EntropySource a generator from the system. Fails if the system gives no random bytes; the server does not start
    /// then.
    pub fn from_system() -> Result<EntropySource, std::io::Error> {
        StdRng::try_from_rng(&mut SysRng).map(EntropySource).map_err(std::io::Error::from)
    }

    /// The random bytes of the next click.
    pub fn draw_random_click_entropy(&mut self) -> ClickEntropy {
        let mut entropy = ClickEntropy::default();
        self.0.fill_bytes(&mut entropy.click_id);
        self.0.fill_bytes(&mut entropy.visitor_id);
        entropy
    }
}
