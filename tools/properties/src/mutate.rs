//! Changes to inputs that find what fuzzers find first, the same on every run.

/// Makes changed copies; two with the same number make the same ones.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// Starts from a number that is not 0.
    pub fn new(start: u64) -> Self {
        Self { state: start }
    }

    /// The next number below `limit` (xorshift64; good enough to spread changes).
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 16).unwrap_or_default() % limit.max(1)
    }

    /// A copy with one to four changes: numbers at the edges, other lengths, copied and cut pieces.
    pub fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, u64::MAX];
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(7) {
                0 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << (self.state & 7)),
                1 | 2 => {
                    let width = 1 << self.below(4);
                    let number = EDGES[self.below(EDGES.len())].to_le_bytes();
                    bytes[at..].iter_mut().zip(number).take(width).for_each(|(byte, new)| *byte = new);
                }
                3 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte = byte.wrapping_add(1)),
                4 => bytes.truncate(at),
                5 => {
                    let piece = bytes[at..].to_vec();
                    bytes.extend(piece.iter().take(64));
                }
                _ => drop(bytes.drain(at..bytes.len().min(at + 8))),
            }
        }
        bytes
    }
}
