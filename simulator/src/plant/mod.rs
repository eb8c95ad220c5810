//! The plant: pure, seeded, without clock, I/O or threads.

pub mod disturbance;
pub mod material;
pub mod moulding;
pub mod noise;
