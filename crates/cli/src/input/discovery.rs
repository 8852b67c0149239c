//! Which files the arguments of a command stand for.
//!
//! Laws: a path that is there is that path, whatever characters it has; what a directory or a
//! pattern stands for comes in the order of the bytes of its paths; hidden files are left out, and
//! whatever isn't a regular file; a file that was found before isn't found again.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::pattern::{Part, Pattern};
use super::standard::StandardInput;
use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::ui::units;

/// What an argument stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file by its own name.
    File(PathBuf),
    /// A file of a directory, or one that matches a pattern.
    Member(PathBuf),
    /// Standard input.
    StandardInput,
}

/// An argument, looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Argument<'a> {
    StandardInput,
    File(&'a Path),
    Directory(&'a Path),
    Pattern(Pattern),
}

impl Argument<'_> {
    fn of(path: &Path) -> Argument<'_> {
        if StandardInput::is_meant_by(path) {
            return Argument::StandardInput;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Argument::Directory(path),
            Ok(_) => Argument::File(path),
            Err(_) => Pattern::of(path).map_or(Argument::File(path), Argument::Pattern),
        }
    }
}

/// Whether an argument stands for one file, which may not be there yet.
pub fn is_one_file(argument: &Path) -> bool {
    matches!(Argument::of(argument), Argument::File(_))
}

/// A file that arguments stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path as an argument gives it.
    pub path: PathBuf,
    /// Its whole path.
    pub real: PathBuf,
}

/// That arguments are directories, patterns, or files that are there; not files alone, unless they
/// may grow.
pub fn check_can_be_watched(arguments: &[PathBuf], may_grow: bool) -> Outcome<()> {
    for argument in arguments {
        let cause = match Argument::of(argument) {
            Argument::StandardInput => "standard input can be read once",
            Argument::File(path) if fs::metadata(path).is_err() => "it isn't there",
            Argument::File(_) | Argument::Directory(_) | Argument::Pattern(_) => continue,
        };
        return Failure::new(Exit::Usage, format!("{} can't be watched", argument.display()))
            .cause(cause)
            .remedy("name a directory that is there, or a pattern such as 'logs/*.csv'")
            .err();
    }
    if may_grow || !arguments.iter().all(|argument| is_one_file(argument)) {
        return Ok(());
    }
    Failure::new(Exit::Usage, "nothing can come that --watch would wait for")
        .cause("files alone are named, and no directory or pattern that others may come to")
        .remedy(
            "leave --watch out; or name a directory or a pattern such as 'logs/*.csv';\n\
             --append goes on with files that grow, --follow with a log as it is written",
        )
        .err()
}

/// The files that the arguments stand for just now, also if there is none.
pub fn list_all(arguments: &[PathBuf], is_recursive: bool) -> Outcome<Vec<Listed>> {
    let mut listed = Vec::new();
    let mut known = HashSet::new();
    for argument in arguments {
        let files = match Argument::of(argument) {
            Argument::File(path) if path.exists() => vec![path.to_owned()],
            argument => argument.files(is_recursive)?,
        };
        for path in files {
            let real = real(&path);
            if known.insert(real.clone()) {
                listed.push(Listed { path, real });
            }
        }
    }
    Ok(listed)
}

/// What the arguments stand for, in their order.
///
/// # Errors
/// Standard input is named twice, a directory can't be read, or nothing is there of what a
/// directory or a pattern stands for.
pub fn find(arguments: &[PathBuf], is_recursive: bool) -> Outcome<Vec<Found>> {
    let mut found = Vec::with_capacity(arguments.len());
    // Files that are there by several names, as what they really are.
    let mut known = HashSet::new();
    for path in arguments {
        match Argument::of(path) {
            Argument::StandardInput if found.contains(&Found::StandardInput) => {
                return twice_standard_input();
            }
            Argument::StandardInput => found.push(Found::StandardInput),
            Argument::File(path) => {
                known.insert(real(path));
                found.push(Found::File(path.to_owned()));
            }
            argument => {
                let files = argument.files(is_recursive)?;
                if files.is_empty() {
                    return Err(nothing_found(path, &argument, is_recursive).into());
                }
                found.extend(
                    files.into_iter().filter(|file| known.insert(real(file))).map(Found::Member),
                );
            }
        }
    }
    Ok(found)
}

/// Whether a file that isn't there any more would be among what a directory or a pattern of the
/// arguments stands for. Its path is its whole one.
pub fn would_find(arguments: &[PathBuf], is_recursive: bool, file: &Path) -> bool {
    arguments.iter().any(|path| match Argument::of(path) {
        Argument::StandardInput | Argument::File(_) => false,
        Argument::Directory(directory) => {
            let below = file.strip_prefix(real(directory)).ok();
            below.is_some_and(|below| is_recursive || below.components().count() == 1)
        }
        Argument::Pattern(pattern) => {
            let below = file.strip_prefix(real(directory_of(&pattern.base))).ok();
            below.is_some_and(|below| {
                let names: Vec<String> =
                    below.iter().map(|name| name.to_string_lossy().into_owned()).collect();
                is_below(&pattern.parts, &names)
            })
        }
    })
}

fn is_below(parts: &[Part], names: &[String]) -> bool {
    match (parts, names) {
        ([], []) => true,
        ([Part::AnyDirectories, rest @ ..], _) if is_below(rest, names) => true,
        ([Part::AnyDirectories, ..], [_, names @ ..]) => is_below(parts, names),
        ([Part::Name(pattern), rest @ ..], [name, names @ ..]) => {
            pattern.matches(name) && is_below(rest, names)
        }
        _ => false,
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn directory_of(base: &Path) -> &Path {
    if base.as_os_str().is_empty() { Path::new(".") } else { base }
}

impl Argument<'_> {
    /// The files of a directory or a pattern, in order.
    fn files(&self, is_recursive: bool) -> Outcome<Vec<PathBuf>> {
        let mut files = Vec::new();
        match self {
            Argument::StandardInput | Argument::File(_) => {}
            Argument::Directory(path) => list(path, is_recursive, &mut files)?,
            Argument::Pattern(pattern) => walk(&pattern.base, &pattern.parts, &mut files)?,
        }
        files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        files.dedup();
        Ok(files)
    }
}

/// A name in a directory.
struct Entry {
    name: String,
    path: PathBuf,
    is_file: bool,
    /// A directory itself, not a link to one: links may lead in circles.
    is_directory: bool,
}

/// What is in a directory, nothing if it disappeared.
fn entries_if_there(directory: &Path) -> Outcome<Vec<Entry>> {
    match entries(directory) {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => {
            let what = format!("can't read the directory {}", directory.display());
            let remedy = "let your user read it, or name its files";
            Failure::new(Exit::BadInput, what).because(&error).remedy(remedy).err()
        }
    }
}

/// What is in a directory. What disappears meanwhile isn't.
fn entries(directory: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory_of(directory))? {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_file = !is_directory && fs::metadata(&path).is_ok_and(|what| what.is_file());
        let name = entry.file_name().to_string_lossy().into_owned();
        entries.push(Entry { name, path, is_file, is_directory });
    }
    Ok(entries)
}

/// The regular files of a directory that aren't hidden.
fn list(directory: &Path, is_recursive: bool, files: &mut Vec<PathBuf>) -> Outcome<()> {
    let all = entries_if_there(directory)?;
    for entry in all.into_iter().filter(|entry| !entry.name.starts_with('.')) {
        if entry.is_file {
            files.push(entry.path);
        } else if entry.is_directory && is_recursive {
            list(&entry.path, is_recursive, files)?;
        }
    }
    Ok(())
}

/// The regular files below a directory that the parts of a pattern lead to.
fn walk(directory: &Path, parts: &[Part], files: &mut Vec<PathBuf>) -> Outcome<()> {
    let Some((part, rest)) = parts.split_first() else { return Ok(()) };
    if !directory_of(directory).is_dir() {
        return Ok(());
    }
    if *part == Part::AnyDirectories {
        walk(directory, rest, files)?;
    }
    for entry in entries_if_there(directory)? {
        match part {
            Part::AnyDirectories if entry.is_directory && !entry.name.starts_with('.') => {
                walk(&entry.path, parts, files)?;
            }
            Part::Name(pattern) if pattern.matches(&entry.name) => match rest {
                [] if entry.is_file => files.push(entry.path),
                [] => {}
                // Here a link is as good as what it leads to: the pattern ends somewhere.
                rest => walk(&entry.path, rest, files)?,
            },
            Part::AnyDirectories | Part::Name(_) => {}
        }
    }
    Ok(())
}

fn nothing_found(path: &Path, argument: &Argument<'_>, is_recursive: bool) -> Failure {
    let name = path.display();
    let Argument::Pattern(pattern) = argument else {
        let all = entries(path).unwrap_or_default();
        let directories = all.iter().filter(|entry| entry.is_directory).count();
        let failure = Failure::new(Exit::BadInput, format!("{name} has no files to read"));
        return match (is_recursive, directories) {
            (false, 1..) => failure
                .cause(format!("it has {}", units::counted(directories as u64, "directory")))
                .remedy("--recursive reads the files of its directories too"),
            _ => failure
                .cause("hidden files are left out")
                .remedy("name the files, or put some there"),
        };
    };
    let base = directory_of(&pattern.base);
    let failure = Failure::new(Exit::BadInput, format!("no file matches {name}"));
    let Ok(all) = entries(&pattern.base) else {
        return failure
            .cause(format!("there is no directory {}", base.display()))
            .remedy("check the path; a relative one starts at the current directory");
    };
    let mut names: Vec<&str> =
        all.iter().filter(|entry| entry.is_file).map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    let cause = match names.as_slice() {
        [] => format!("{} has no files", base.display()),
        [one] => format!("{} has one file: {one}", base.display()),
        [first, .., last] => {
            format!("{} has {} files, from {first} to {last}", base.display(), names.len())
        }
    };
    failure.cause(cause).remedy(
        "* is any text, ? a character, [a-z] one of a set, ** any directories;\n\
                 hidden files match only a pattern that begins with a dot",
    )
}

fn twice_standard_input<T>() -> Outcome<T> {
    Failure::new(Exit::Usage, "standard input is named twice")
        .cause("each - stands for standard input, which can be read once")
        .remedy("leave one - out")
        .err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A directory with these files in it.
    fn tree(files: &[&str]) -> TempDir {
        let directory = TempDir::new().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        directory
    }

    fn found(directory: &TempDir, arguments: &[&str], is_recursive: bool) -> Outcome<Vec<String>> {
        let arguments: Vec<PathBuf> =
            arguments.iter().map(|argument| directory.path().join(argument)).collect();
        let found = find(&arguments, is_recursive)?.into_iter().map(|found| match found {
            Found::File(path) | Found::Member(path) => {
                path.strip_prefix(directory.path()).unwrap().display().to_string()
            }
            Found::StandardInput => "-".to_owned(),
        });
        Ok(found.collect())
    }

    const FILES: [&str; 8] = [
        "d/b.csv",
        "d/B.csv",
        "d/a.csv",
        "d/.hidden.csv",
        "d/in/a.csv",
        "d/in/deep/c.csv",
        "d/.in/x.csv",
        "d/in-b.csv",
    ];

    #[test]
    fn a_directory_is_its_regular_files_by_the_bytes_of_their_paths() {
        let directory = tree(&FILES);
        std::os::unix::net::UnixListener::bind(directory.path().join("d/socket")).unwrap();
        std::os::unix::fs::symlink("a.csv", directory.path().join("d/link.csv")).unwrap();
        std::os::unix::fs::symlink("..", directory.path().join("d/in/circle")).unwrap();
        let flat = ["d/B.csv", "d/a.csv", "d/b.csv", "d/in-b.csv"];
        assert_eq!(found(&directory, &["d"], false).unwrap(), flat, "a link is what it leads to");
        let deep = ["d/B.csv", "d/a.csv", "d/b.csv", "d/in-b.csv", "d/in/a.csv", "d/in/deep/c.csv"];
        assert_eq!(found(&directory, &["d"], true).unwrap(), deep);
    }

    #[test]
    fn a_pattern_is_the_files_that_match_it() {
        let directory = tree(&FILES);
        let of = |pattern: &str| found(&directory, &[pattern], false).unwrap();
        assert_eq!(of("d/[ab]*.csv"), ["d/a.csv", "d/b.csv"]);
        assert_eq!(of("d/.*"), ["d/.hidden.csv"]);
        assert_eq!(of("d/*/a.csv"), ["d/in/a.csv"]);
        assert_eq!(of("**/a.csv"), ["d/a.csv", "d/in/a.csv"]);
        assert_eq!(of("d/in/**"), ["d/in/a.csv", "d/in/deep/c.csv"]);
    }

    #[test]
    fn what_is_there_by_its_own_name_is_no_pattern_and_nothing_is_found_twice() {
        let directory = tree(&["d/[a].csv", "d/a.csv", "d/b.csv"]);
        assert_eq!(found(&directory, &["d/[a].csv"], false).unwrap(), ["d/[a].csv"]);
        let several = found(&directory, &["d/b.csv", "d/*.csv", "d"], false).unwrap();
        assert_eq!(several, ["d/b.csv", "d/[a].csv", "d/a.csv"]);
    }

    #[test]
    fn nothing_found_says_what_is_there_and_what_to_do() {
        let directory = tree(&["d/a.csv", "d/b.csv", "e/in/a.csv", "f/.hidden"]);
        let failed = |argument: &str| {
            let failure = found(&directory, &[argument], false).unwrap_err();
            assert_eq!(failure.exit, Exit::BadInput);
            let remedy = failure.remedy.clone().unwrap();
            format!("{failure} {remedy}")
        };
        let text = failed("d/*.ndjson");
        assert!(text.contains("d/*.ndjson") && text.contains("from a.csv to b.csv"), "{text}");
        assert!(failed("no/*.csv").contains("there is no directory"), "{}", failed("no/*.csv"));
        assert!(failed("e").contains("--recursive"), "{}", failed("e"));
        assert!(failed("f").contains("hidden files are left out"), "{}", failed("f"));
    }

    #[test]
    fn a_file_that_is_gone_is_known_by_where_it_was() {
        let directory = tree(&["d/a.csv", "d/in/a.csv"]);
        let would = |argument: &str, is_recursive, file: &str| {
            let root = directory.path().canonicalize().unwrap();
            would_find(&[directory.path().join(argument)], is_recursive, &root.join(file))
        };
        assert!(would("d", false, "d/gone.csv") && !would("d", false, "d/in/gone.csv"));
        assert!(would("d", true, "d/in/gone.csv") && !would("d", true, "e/gone.csv"));
        assert!(would("d/*.csv", false, "d/gone.csv") && !would("d/*.csv", false, "d/gone.gz"));
        assert!(would("**/*.csv", false, "d/in/gone.csv"));
        assert!(!would("d/a.csv", false, "d/a.csv"), "a file by its name isn't searched for");
    }
}
