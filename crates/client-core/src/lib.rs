//! The producer and consumer as pure state machines: no I/O, no clock, no chance.
