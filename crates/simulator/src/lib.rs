//! The real cores under a faked clock, network and disk: one seed, one run.
