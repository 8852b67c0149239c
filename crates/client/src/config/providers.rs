//! `${provider:path:key}` in values: what is kept elsewhere, in a file or the environment
//! (KIP-297), is put in its place before anything is read.
//!
//! As in Java, `config.providers` lists the providers by name, and `config.providers.NAME.class`
//! says what each is. The names `env`, `file` and `directory` stand for Kafka's own without that.
//! A value is replaced once; what was put in is not looked through again. Between the quotation
//! marks of a JAAS text it is what the option is, with marks and backslashes in it and all: Java
//! puts it in as text, so that there they end the option, or the login.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use streamledger_protocol::jaas;

use super::error::ConfigError;
use super::properties::Properties;

/// What all settings of providers begin with.
pub(crate) const PREFIX: &str = "config.providers";

/// What the name of a setting that holds a JAAS text ends with, the broker's too.
const JAAS: &str = "sasl.jaas.config";

const CLASSES: &str = "org.apache.kafka.common.config.provider.";

/// The largest file that a whole value is read from.
const VALUE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Debug, Clone)]
struct Provider {
    kind: Kind,
    /// Files outside these are not read; all are, if it is empty (KIP-993).
    allowed_paths: Vec<PathBuf>,
    /// Only variables whose name fits are read, where a list is given.
    allowed_variables: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Environment,
    /// A value of a properties file.
    File,
    /// A whole file of a directory.
    Directory,
}

/// Puts in what the values refer to, and leaves the providers' own settings out.
pub(super) fn resolve(properties: &Properties) -> Result<Properties, ConfigError> {
    let providers = providers(properties)?;
    let mut resolved = Properties::new();
    for entry in properties.entries() {
        if is_providers_setting(&entry.name) {
            continue;
        }
        let refused = |reason| ConfigError::Reference {
            name: entry.name.clone(),
            reason,
            origin: entry.origin.clone(),
        };
        let value = substitute(&entry.value, entry.name.ends_with(JAAS), &providers);
        let value = value.map_err(refused)?;
        resolved.push(entry.name.clone(), value, entry.origin.clone());
    }
    Ok(resolved)
}

/// Whether the setting is one of the providers' own.
pub(super) fn is_providers_setting(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether the text refers to something that is kept elsewhere, and is nothing else.
pub(super) fn is_reference(value: &str) -> bool {
    let inner = value.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| inner.contains(':') && !inner.contains('}'))
}

fn providers(properties: &Properties) -> Result<BTreeMap<String, Provider>, ConfigError> {
    let mut providers = BTreeMap::new();
    let listed = properties.get(PREFIX).unwrap_or_default();
    for name in listed.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let setting = |rest: &str| properties.get(&format!("{PREFIX}.{name}.{rest}"));
        let class = setting("class").map(|class| class.strip_prefix(CLASSES).unwrap_or(class));
        let kind = match (class, name) {
            (Some("EnvVarConfigProvider"), _) | (None, "env") => Kind::Environment,
            (Some("FileConfigProvider"), _) | (None, "file") => Kind::File,
            (Some("DirectoryConfigProvider"), _) | (None, "directory") => Kind::Directory,
            (class, name) => {
                return Err(ConfigError::Unusable {
                    name: PREFIX,
                    reason: format!(
                        "the provider {name} is {}; there are EnvVarConfigProvider, \
                         FileConfigProvider and DirectoryConfigProvider ({CLASSES}...)",
                        class.unwrap_or("without a class")
                    ),
                });
            }
        };
        let paths = setting("param.allowed.paths").unwrap_or_default().split(',');
        let paths = paths.map(str::trim).filter(|path| !path.is_empty()).map(PathBuf::from);
        let allowed_variables = setting("param.allowlist.pattern").map(str::to_owned);
        let provider = Provider { kind, allowed_paths: paths.collect(), allowed_variables };
        providers.insert(name.to_owned(), provider);
    }
    Ok(providers)
}

fn substitute(
    value: &str,
    is_jaas: bool,
    providers: &BTreeMap<String, Provider>,
) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = value;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        let Some(end) = reference.find('}') else { break };
        let inner = &reference[2..end];
        result.push_str(before);
        let found = inner.split_once(':').and_then(|(name, rest)| {
            let provider = providers.get(name)?;
            Some(provider.look_up(rest))
        });
        match found {
            Some(found) if is_jaas && jaas::ends_within_quotes(&result) => {
                result.push_str(&jaas::escape(&found?));
            }
            Some(found) => result.push_str(&found?),
            // As in Java: what no provider is named for stays as it is.
            None => result.push_str(&reference[..=end]),
        }
        rest = &reference[end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

impl Provider {
    fn look_up(&self, reference: &str) -> Result<String, String> {
        let (path, key) = reference.rsplit_once(':').unwrap_or(("", reference));
        match self.kind {
            Kind::Environment => self.variable(key),
            Kind::File => {
                let path = self.allowed(Path::new(path))?;
                let file = Properties::parse_file(path).map_err(|error| error.to_string())?;
                let value = file.get(key).map(str::to_owned);
                value.ok_or_else(|| format!("{} has no value {key}", path.display()))
            }
            Kind::Directory => {
                let is_plain =
                    Path::new(key).components().all(|c| matches!(c, Component::Normal(_)));
                if !is_plain || key.is_empty() {
                    return Err(format!("{key:?} is not the name of a file"));
                }
                let path = self.allowed(Path::new(path))?.join(key);
                read_value(&path)
                    .map_err(|reason| format!("cannot read {}: {reason}", path.display()))
            }
        }
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        if let Some(pattern) = &self.allowed_variables
            && !fits(name, pattern)
        {
            return Err(format!("the variable {name} doesn't fit {pattern}, which is allowed"));
        }
        std::env::var(name).map_err(|_| format!("the environment has no variable {name}"))
    }

    fn allowed<'a>(&self, path: &'a Path) -> Result<&'a Path, String> {
        let has_way_up = path.components().any(|part| part == Component::ParentDir);
        let is_inside = self.allowed_paths.iter().any(|allowed| path.starts_with(allowed));
        if path.as_os_str().is_empty() {
            return Err("there is no path in the reference".to_owned());
        }
        if !self.allowed_paths.is_empty() && (has_way_up || !is_inside) {
            return Err(format!("{} is outside of param.allowed.paths", path.display()));
        }
        Ok(path)
    }
}

/// Whether a name fits a pattern. Of Java's regular expressions only `.*` is understood; with
/// anything else in it, a pattern fits no name, so that none is read against the pattern's will.
fn fits(name: &str, pattern: &str) -> bool {
    let is_plain = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let parts: Vec<&str> = pattern.split(".*").collect();
    if !parts.iter().all(|part| is_plain(part)) {
        return false;
    }
    let [first, middle @ .., last] = &*parts else { return name == pattern };
    let Some(mut rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else {
        return false;
    };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

fn read_value(path: &Path) -> Result<String, String> {
    let bytes = super::properties::read_capped(path, VALUE_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<Properties, String> {
        let properties = Properties::parse(text).unwrap();
        resolve(&properties).map_err(|error| error.to_string())
    }

    #[test]
    fn a_reference_is_replaced_from_file_directory_and_environment() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().display();
        std::fs::write(scratch.path().join("s.properties"), "pw=hunter2\n").unwrap();
        std::fs::write(scratch.path().join("token"), "abc").unwrap();
        let text = format!(
            "config.providers=file,env,d\n\
             config.providers.file.class={CLASSES}FileConfigProvider\n\
             config.providers.d.class=DirectoryConfigProvider\n\
             a=x ${{file:{at}/s.properties:pw}} y\nb=${{d:{at}:token}}\nc=${{env:PATH}}\n\
             e=${{other:x}} ${{\n"
        );
        let properties = resolved(&text).unwrap();
        assert_eq!(properties.get("a"), Some("x hunter2 y"));
        assert_eq!(properties.get("b"), Some("abc"));
        assert_eq!(properties.get("c"), std::env::var("PATH").ok().as_deref());
        assert_eq!(properties.get("e"), Some("${other:x} ${"), "as it is in Java");
        assert_eq!(properties.iter().count(), 4, "the providers' own settings are left out");
    }

    #[test]
    fn a_password_in_a_login_module_is_taken_as_it_is() {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().display();
        let password = r#"a"b\c' ; user_x="y"#;
        std::fs::write(scratch.path().join("password"), password).unwrap();
        let whole = r#"a.B required password="a\"b";"#;
        std::fs::write(scratch.path().join("whole"), whole).unwrap();
        for (name, mark) in [("sasl.jaas.config", '"'), ("listener.name.x.sasl.jaas.config", '\'')]
        {
            let text = format!(
                "config.providers=directory\nwhole.{name}=${{directory:{at}:whole}}\n\
                 {name}=a.B required /* it's */ username={mark}al{mark} \
                 password={mark}${{directory:{at}:password}}{mark};\n"
            );
            let properties = resolved(&text).unwrap();
            let module = jaas::LoginModule::parse(properties.get(name).unwrap()).unwrap();
            assert_eq!(module.text("password"), Some(password));
            assert_eq!(module.options.len(), 2);
            assert_eq!(properties.get(&format!("whole.{name}")), Some(whole), "not in quotes");
        }
    }

    #[test]
    fn what_is_not_there_or_not_allowed_is_an_error_with_the_line() {
        let error = resolved("config.providers=env\na=${env:NO_SUCH_VARIABLE_HERE}").unwrap_err();
        assert_eq!(error, "line 2: a: the environment has no variable NO_SUCH_VARIABLE_HERE");
        let allowed = "config.providers=file\nconfig.providers.file.param.allowed.paths=/etc/ok\n";
        for path in ["/etc/passwd", "/etc/ok/../passwd"] {
            let error = resolved(&format!("{allowed}a=${{file:{path}:x}}")).unwrap_err();
            assert!(error.ends_with("is outside of param.allowed.paths"), "{error}");
        }
        let error = resolved("config.providers=directory\na=${directory:/etc:../x}").unwrap_err();
        assert!(error.contains("not the name of a file"), "{error}");
        let error = resolved("config.providers=vault").unwrap_err();
        assert!(error.contains("the provider vault is without a class"), "{error}");
    }

    #[test]
    fn variables_may_be_limited_by_a_pattern() {
        assert!(fits("KAFKA_PASSWORD", "KAFKA_.*") && fits("A_x_B", "A.*x.*B"));
        assert!(!fits("HOME", "KAFKA_.*") && !fits("HOME", "[A-Z]+"));
    }

    #[test]
    fn only_a_lone_reference_counts_as_one() {
        assert!(is_reference("${env:X}") && is_reference(" ${file:/a:b} "));
        assert!(!is_reference("hunter2") && !is_reference("${x}") && !is_reference("${a:b}${c:d}"));
    }
}
