//! The five hot duties: each joins one stage to its rings and sockets. A duty handles at most a
//! batch a turn, takes an input only when its output has room for the worst burst, and never waits.

pub mod parse;
pub mod read;
pub mod risk;
pub mod send;
pub mod signal;
