//! The consumer against brokers that behave, move, stall, lie and come back.
