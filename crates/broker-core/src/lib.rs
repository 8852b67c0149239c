//! The broker's decisions as pure state machines: log, replica, groups, transactions, controller.

pub mod config;
pub mod controller;
pub mod map;
