//! What a stage is: pure, one input, bounded outputs.

/// A step of the line. No clock, no socket, no allocation, no lock, no log.
pub trait Stage {
    type In: Copy;
    type Out: Copy;
    /// The name in topology, metrics and logs.
    const NAME: &'static str;
    /// Most outputs one input may cause; a duty takes an input only if that many places are free.
    const BURST_MAX: usize;
    fn on_input(&mut self, input: &Self::In, out: &mut impl Outbox<Self::Out>);
}

/// Where outputs go: a ring, the next stage, or a test's vector.
pub trait Outbox<T> {
    fn emit(&mut self, item: T);
}

impl<T> Outbox<T> for Vec<T> {
    fn emit(&mut self, item: T) {
        self.push(item);
    }
}

/// An outbox made of a closure, to join two stages by direct call.
pub struct Direct<F>(pub F);
impl<T, F: FnMut(T)> Outbox<T> for Direct<F> {
    #[inline(always)]
    fn emit(&mut self, item: T) {
        (self.0)(item);
    }
}
