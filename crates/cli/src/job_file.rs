//! `ingest --job FILE.toml`: a file of options becomes the arguments that it stands for.
//!
//! Law: there is no second list of options. A key is the name of a flag in clap's definition, and
//! what is made of its value goes through clap as if it had been typed. What was really typed wins.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use clap::builder::Str;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};
use toml::de::{DeTable, DeValue};

use crate::args::Arguments;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::nearest::nearest;

/// The command that takes job files.
pub const COMMAND: &str = "ingest";

/// What names a job, or the file of one.
const FLAG: &str = "--job";

/// A file's name ends so; a job's doesn't.
const ENDING: &str = ".toml";

/// A command line, with what a job file adds to it.
#[derive(Debug, Default)]
pub struct Expanded {
    /// The whole of it.
    pub arguments: Vec<OsString>,
    /// The file, if there is one.
    pub file: Option<JobFile>,
}

/// A job file that was read.
#[derive(Debug)]
pub struct JobFile {
    path: PathBuf,
    /// The options that are taken from it: each with the line it stands on.
    options: Vec<(String, usize)>,
}

/// An option that has a value, and who gave it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OptionInForce {
    /// The flag's name.
    pub name: String,
    /// The value as text; of several, with commas between.
    pub value: String,
    /// `flag`, `job file`, `environment` or `default`.
    pub source: &'static str,
}

/// Replaces `--job FILE.toml` by what the file says, as far as the command line doesn't say it.
pub fn expand(arguments: Vec<OsString>, definition: &Command) -> Outcome<Expanded> {
    let is_of_ingest = arguments.get(1).is_some_and(|command| command == COMMAND);
    let Some((path, rest)) = is_of_ingest.then(|| without_file(&arguments)).flatten() else {
        return Ok(Expanded { arguments, file: None });
    };
    if let Some((other, _)) = without_file(&rest) {
        let files = format!("{} and {}", path.display(), other.display());
        return Failure::new(Exit::Usage, format!("two job files are given: {files}"))
            .remedy("give one; options besides it win over what is in it")
            .err();
    }
    let Some(ingest) = definition.find_subcommand(COMMAND) else {
        return Ok(Expanded { arguments, file: None });
    };
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::new(Exit::Usage, format!("can't read the job file {}", path.display()))
            .because(&error)
            .remedy("check the path; a job's name doesn't end in .toml")
    })?;
    let reading = Reading { path: &path, text: &text, ingest };
    let given = given(&rest, ingest);
    let mut added = Vec::new();
    let mut file = JobFile { path: path.clone(), options: Vec::new() };
    for Entry { key, at, value } in reading.entries()? {
        let argument = reading.argument(&key, at)?;
        let is_given = given.iter().any(|given| {
            given.get_id() == argument.get_id()
                || conflict(ingest, given, argument)
                || conflict(ingest, argument, given)
        });
        if !is_given {
            added.extend(reading.arguments(argument, &key, at, value)?);
            file.options.push((name(argument), reading.line(at)));
        }
    }
    let mut arguments = rest;
    let tail = arguments.split_off(2);
    arguments.extend(added);
    arguments.extend(tail);
    Ok(Expanded { arguments, file: Some(file) })
}

/// The job file that a command line names, and the command line without it.
fn without_file(arguments: &[OsString]) -> Option<(PathBuf, Vec<OsString>)> {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let is_file = |name: &OsStr| {
        let name = name.to_string_lossy().to_ascii_lowercase();
        name.ends_with(ENDING) && name.len() > ENDING.len()
    };
    for at in 2..end {
        let (name, count) = match arguments[at].to_str() {
            Some(FLAG) if at + 1 < end => (arguments[at + 1].clone(), 2),
            Some(joined) => match joined.strip_prefix(FLAG).and_then(|rest| rest.strip_prefix('='))
            {
                Some(name) => (OsString::from(name), 1),
                None => continue,
            },
            None => continue,
        };
        if is_file(&name) {
            let rest = [&arguments[..at], &arguments[at + count..]].concat();
            return Some((name.into(), rest));
        }
    }
    None
}

/// The options that a command line gives, as far as it can be understood.
fn given<'a>(arguments: &[OsString], ingest: &'a Command) -> Vec<&'a Arg> {
    let lenient = Arguments::command().ignore_errors(true);
    let Ok(matches) = lenient.try_get_matches_from(arguments) else { return Vec::new() };
    let Some(matches) = matches.subcommand_matches(COMMAND) else { return Vec::new() };
    let is_given = |argument: &&Arg| {
        matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
    };
    options(ingest).filter(is_given).collect()
}

/// Whether one option says that it can't be used with another.
fn conflict(ingest: &Command, one: &Arg, other: &Arg) -> bool {
    ingest.get_arg_conflicts_with(one).iter().any(|found| found.get_id() == other.get_id())
}

/// All options, without help and version.
fn options(ingest: &Command) -> impl Iterator<Item = &Arg> {
    ingest.get_arguments().filter(|argument| {
        !matches!(
            argument.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        )
    })
}

/// An option's name in a job file: that of its flag.
fn name(argument: &Arg) -> String {
    match (argument.get_long(), argument.get_short()) {
        (Some(long), _) => long.to_owned(),
        (None, Some(short)) => short.to_string(),
        (None, None) => argument.get_id().to_string(),
    }
}

/// A key at the top of a file, where it stands, and its value.
#[derive(Debug)]
struct Entry<'t> {
    key: String,
    at: usize,
    value: DeValue<'t>,
}

/// A file under way.
#[derive(Debug)]
struct Reading<'t> {
    path: &'t Path,
    text: &'t str,
    ingest: &'t Command,
}

impl<'t> Reading<'t> {
    /// The file's entries in the order in which they stand there.
    fn entries(&self) -> Outcome<Vec<Entry<'t>>> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, error.message()).remedy("write it as TOML: option = \"value\"")
        })?;
        let entry = |(key, value): (toml::Spanned<_>, toml::Spanned<_>)| {
            let at = key.span().start;
            let key: std::borrow::Cow<'_, str> = key.into_inner();
            Entry { key: key.into_owned(), at, value: value.into_inner() }
        };
        let mut entries: Vec<Entry<'t>> = table.into_inner().into_iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.at);
        Ok(entries)
    }

    /// The option that a key names.
    fn argument(&self, key: &str, at: usize) -> Outcome<&'t Arg> {
        let is_meant = |argument: &&Arg| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            name(argument) == key || aliases.contains(&key)
        };
        if let Some(argument) = options(self.ingest).find(is_meant) {
            return Ok(argument);
        }
        let names: Vec<String> = options(self.ingest).map(name).collect();
        let failure = self.wrong(at, &format!("there is no option {key:?}"));
        match nearest(key, names.iter().map(String::as_str)) {
            Some(near) => failure.remedy(format!("did you mean {near}?")).err(),
            None => {
                let remedy = "the options are those of `streamledger ingest --help`, without --";
                failure.remedy(remedy).err()
            }
        }
    }

    /// The arguments that an option and its value stand for.
    fn arguments(
        &self,
        argument: &Arg,
        key: &str,
        at: usize,
        value: DeValue<'_>,
    ) -> Outcome<Vec<OsString>> {
        if !argument.get_action().takes_values() {
            let DeValue::Boolean(is_set) = value else {
                return self.wrong(at, &format!("{key} is either true or false")).err();
            };
            return Ok(if is_set { vec![flag(argument)] } else { vec![] });
        }
        let mut values = self.values(argument, key, at, value)?;
        let takes_many =
            argument.is_positional() || matches!(argument.get_action(), ArgAction::Append);
        if !takes_many && values.len() > 1 {
            if !value_name(argument).is_some_and(|name| name.ends_with(",..")) {
                return self.wrong(at, &format!("{key} takes one value")).err();
            }
            values = vec![values.join(",")];
        }
        let is_path = argument.get_value_parser().type_id() == TypeId::of::<PathBuf>();
        let beside = self.path.parent().unwrap_or(Path::new(""));
        let spelled = |value: String| {
            let value = match is_path && value != "-" {
                true => beside.join(value).into_os_string(),
                false => value.into(),
            };
            if !argument.is_positional() {
                let mut spelled = flag(argument);
                spelled.push(if argument.get_long().is_some() { "=" } else { "" });
                spelled.push(value);
                return spelled;
            }
            if value.as_encoded_bytes().starts_with(b"-") && value != "-" {
                return Path::new(".").join(value).into_os_string();
            }
            value
        };
        Ok(values.into_iter().map(spelled).collect())
    }

    /// The texts of a value; of a table `name=value`, for options that take such.
    fn values(
        &self,
        argument: &Arg,
        key: &str,
        at: usize,
        value: DeValue<'_>,
    ) -> Outcome<Vec<String>> {
        match value {
            DeValue::Array(items) => {
                let text = |item: toml::Spanned<DeValue<'_>>| {
                    let at = item.span().start;
                    self.text_of(key, at, &item.into_inner())
                };
                items.into_iter().map(text).collect()
            }
            DeValue::Table(table) => {
                if !value_name(argument).is_some_and(|name| name.contains('=')) {
                    return self.wrong(at, &format!("{key} takes no table")).err();
                }
                let mut pairs = Vec::new();
                self.flatten(key, "", &table, &mut pairs)?;
                pairs.sort_by_key(|(at, _)| *at);
                Ok(pairs.into_iter().map(|(_, pair)| pair).collect())
            }
            single => Ok(vec![self.text_of(key, at, &single)?]),
        }
    }

    /// The pairs of a table: `linger.ms = 20` is a table in a table, but one name.
    fn flatten(
        &self,
        key: &str,
        prefix: &str,
        table: &DeTable<'_>,
        pairs: &mut Vec<(usize, String)>,
    ) -> Outcome<()> {
        for (name, value) in table {
            let at = name.span().start;
            let name = format!("{prefix}{}", name.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) => self.flatten(key, &format!("{name}."), inner, pairs)?,
                single => {
                    let text = self.text_of(&format!("{key}.{name}"), at, single)?;
                    pairs.push((at, format!("{name}={text}")));
                }
            }
        }
        Ok(())
    }

    fn text_of(&self, key: &str, at: usize, value: &DeValue<'_>) -> Outcome<String> {
        match value {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            DeValue::Integer(number) if number.radix() == 10 => {
                Ok(number.as_str().replace('_', ""))
            }
            DeValue::Float(number) => Ok(number.as_str().replace('_', "")),
            DeValue::Boolean(is) => Ok(is.to_string()),
            _ => {
                let remedy = "write it in quotes, as on the command line";
                self.wrong(at, &format!("{key} takes text or a number")).remedy(remedy).err()
            }
        }
    }

    /// The line on which something stands, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes()[..at.min(self.text.len())]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }

    fn wrong(&self, at: usize, what: &str) -> Failure {
        Failure::new(Exit::Usage, format!("{}:{}: {what}", self.path.display(), self.line(at)))
    }
}

/// An option as it is typed.
fn flag(argument: &Arg) -> OsString {
    match argument.get_long() {
        Some(long) => format!("--{long}").into(),
        None => format!("-{}", name(argument)).into(),
    }
}

fn value_name(argument: &Arg) -> Option<&str> {
    argument.get_value_names().and_then(|names| names.first()).map(Str::as_str)
}

impl JobFile {
    /// What clap says of an option that stands in the file, as an error of the file.
    pub fn blame(&self, error: &clap::Error) -> Option<Failure> {
        let flags: Vec<&String> = [ContextKind::InvalidArg, ContextKind::PriorArg]
            .iter()
            .filter_map(|kind| match error.get(*kind) {
                Some(ContextValue::String(flag)) => Some(vec![flag]),
                Some(ContextValue::Strings(flags)) => Some(flags.iter().collect()),
                _ => None,
            })
            .flatten()
            .collect();
        let is_named = |option: &&(String, usize)| {
            let (long, short) = (format!("--{}", option.0), format!("-{}", option.0));
            let names = |flag: &str| {
                let word = flag.split([' ', '=']).next().unwrap_or_default();
                word == long || word == short
            };
            flags.iter().any(|flag| names(flag))
        };
        let (_, line) = self.options.iter().find(is_named)?;
        let text = error.to_string();
        let said = text.split("\n\n").next().unwrap_or(&text);
        let said = said.strip_prefix("error: ").unwrap_or(said).trim();
        Some(
            Failure::new(Exit::Usage, format!("{}:{line}: {said}", self.path.display()))
                .remedy("`streamledger ingest --help` says what each option takes"),
        )
    }
}

/// The options of `ingest` that have a value, in the order of its help. Settings of clients (-X)
/// aren't among them: they may be secrets, and are shown by who reads them.
pub fn in_force(
    definition: &Command,
    matches: &ArgMatches,
    file: Option<&JobFile>,
) -> Vec<OptionInForce> {
    let Some(ingest) = definition.find_subcommand(COMMAND) else { return Vec::new() };
    let mut in_force = Vec::new();
    for argument in options(ingest).filter(|argument| argument.get_short() != Some('X')) {
        let (id, name) = (argument.get_id().as_str(), name(argument));
        let Some(values) = matches.get_raw(id) else { continue };
        let values: Vec<_> = values.map(OsStr::to_string_lossy).collect();
        let source = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => {
                let is_of_file = |file: &JobFile| file.options.iter().any(|(key, _)| *key == name);
                if file.is_some_and(is_of_file) { "job file" } else { "flag" }
            }
            Some(ValueSource::EnvVariable) => "environment",
            _ => "default",
        };
        let mut value = values.join(", ");
        if !argument.get_action().takes_values() {
            if value == "false" {
                continue;
            }
            value = "true".to_owned();
        }
        in_force.push(OptionInForce { name, value, source });
    }
    in_force
}

#[cfg(test)]
#[path = "job_file_tests.rs"]
mod tests;
