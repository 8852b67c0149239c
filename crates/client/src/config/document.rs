//! The table of settings as a page of documentation.

use std::fmt::Write;

use super::settings::table;
use super::spec::{ClientKind, DefaultValue, SettingSpec, Support};

/// Renders every setting of Kafka's clients as Markdown, a table for those that have an effect and
/// one for the rest with the reason: `docs/settings.md`.
#[must_use]
pub fn settings_markdown() -> String {
    let mut page = String::from(HEAD);
    for (title, part) in PARTS {
        let _ = write!(page, "\n## {title}\n\n{COLUMNS}");
        let rows = table().filter(|spec| spec.support == Support::Yes);
        for spec in rows.filter(|spec| part_of(spec) == *part) {
            let _ = writeln!(
                page,
                "| `{}`{} | {} | {} | {} | {} | {} |",
                spec.name,
                owners_in_brackets(spec),
                spec.kind.name(),
                default_cell(spec),
                spec.importance,
                cell(spec.does),
                cell(&sentence(spec.why)),
            );
        }
    }
    let _ = write!(page, "{WITHOUT_EFFECT_HEAD}");
    for spec in table().filter(|spec| spec.support != Support::Yes) {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} |",
            spec.name,
            owners(spec),
            spec.kind.name(),
            default_cell(spec),
            cell(spec.does),
            cell(&support_cell(spec.support)),
        );
    }
    page
}

const HEAD: &str = "\
# Settings

The names, types and defaults are those of Apache Kafka 4.3's Java clients (and two names of 4.4's,
one of 3's), so that a client's properties file works as it is; where a default is another, its row
says why. A value comes from the typed builder, from a file (Java's `.properties` syntax) or from
`-X name=value`; the last word counts. A value that isn't accepted and settings that contradict each
other are errors that say so, and so is an unknown name: Java only warns of one, but a name written
wrong would be a setting that isn't in effect. Settings that are a plug-in's own (a serializer's
schema registry, say) belong in a file of their own.

This page is written from the table in `crates/client/src/config/settings`; a test keeps it current.
";

const PARTS: &[(&str, Option<ClientKind>)] = &[
    ("Every client", None),
    ("Producer", Some(ClientKind::Producer)),
    ("Consumer", Some(ClientKind::Consumer)),
];

const COLUMNS: &str = "\
| Setting | Type | Default | Importance | What it does | Why this default |
| --- | --- | --- | --- | --- | --- |
";

const WITHOUT_EFFECT_HEAD: &str = "
## Known, but without an effect here

A value that differs from Kafka's default is noted when the client starts, or refused where leaving
it out would do something else than was asked for.

| Setting | Client | Type | Default | What it does in Kafka | Here |
| --- | --- | --- | --- | --- | --- |
";

/// The client whose part of the page a setting is in; none if several have it.
fn part_of(spec: &SettingSpec) -> Option<ClientKind> {
    match spec.clients {
        [only] => Some(*only),
        _ => None,
    }
}

fn owners(spec: &SettingSpec) -> String {
    if spec.clients.len() == ClientKind::ALL.len() {
        return "all".to_owned();
    }
    let names: Vec<_> = spec.clients.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn owners_in_brackets(spec: &SettingSpec) -> String {
    match spec.clients.len() {
        2 => format!(" ({})", owners(spec)),
        _ => String::new(),
    }
}

fn default_cell(spec: &SettingSpec) -> String {
    match spec.default {
        DefaultValue::Required => "none: required".to_owned(),
        DefaultValue::Nothing => "none".to_owned(),
        DefaultValue::Value("") => "empty".to_owned(),
        DefaultValue::Value(text) => code(text),
        DefaultValue::PerClient { producer, consumer, admin } => {
            let texts = [producer, consumer, admin];
            let clients = ClientKind::ALL.iter().zip(texts);
            let cells: Vec<_> = clients.map(|(c, text)| format!("{} ({c})", code(text))).collect();
            cells.join(", ")
        }
    }
}

fn support_cell(support: Support) -> String {
    match support {
        Support::Yes => "yes".to_owned(),
        Support::NotNeeded(reason) => format!("not needed: {reason}"),
        Support::NotYet(reason, _) => format!("not yet: {reason}"),
        Support::Never(reason, _) => format!("no: {reason}"),
    }
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace(',', ", "))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Run with `STREAMLEDGER_WRITE_DOCS=1` to write the page.
    #[test]
    fn the_page_in_docs_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
        let page = settings_markdown();
        if std::env::var_os("STREAMLEDGER_WRITE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == page, "docs/settings.md is not what the table says: write it again");
    }
}
