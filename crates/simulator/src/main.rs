//! Runs the simulator: `simulate --seed N`.

fn main() {}
