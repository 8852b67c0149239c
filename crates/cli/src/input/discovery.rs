//! Which files the arguments of a command stand for.

use std::path::PathBuf;

use super::standard::StandardInput;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// What an argument stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File(PathBuf),
    /// Standard input.
    StandardInput,
}

/// What the arguments stand for, in their order.
pub fn find(arguments: &[PathBuf]) -> Outcome<Vec<Found>> {
    let mut found = Vec::with_capacity(arguments.len());
    for argument in arguments {
        if !StandardInput::is_meant_by(argument) {
            found.push(Found::File(argument.clone()));
        } else if found.contains(&Found::StandardInput) {
            return twice_standard_input();
        } else {
            found.push(Found::StandardInput);
        }
    }
    Ok(found)
}

fn twice_standard_input<T>() -> Outcome<T> {
    Failure::new(Exit::Usage, "standard input is named twice")
        .cause("each - stands for standard input, which can be read once")
        .remedy("leave one - out")
        .err()
}
