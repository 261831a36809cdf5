//! One run of a delivery: whether it may begin, and what follows from its end.

pub mod end;
pub mod gate;
pub mod moved;
