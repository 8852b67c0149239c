//! The settings that a command was given: a properties file, then `-X`, which wins.

use std::path::Path;

use streamledger::Properties;

use crate::failure::Outcome;
use crate::producing::config_failure;

/// Reads them. Names and values are checked by the client that they are for.
pub fn given(file: Option<&Path>, assignments: &[String]) -> Outcome<Properties> {
    let mut properties = match file {
        Some(path) => Properties::parse_file(path).map_err(|error| config_failure(&error))?,
        None => Properties::new(),
    };
    for assignment in assignments {
        properties =
            properties.with_assignment(assignment).map_err(|error| config_failure(&error))?;
    }
    Ok(properties)
}
