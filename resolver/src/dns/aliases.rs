//! The file of aliases: legacy names and petnames that somebody here has mapped onto flat names.
//!
//! ```text
//! # who we call what
//! home          <56 characters of a name>
//! www.example   <56 characters of a name>    # a comment
//! ```
//!
//! Exact names only. Editing keeps every other line as it is.

use crate::dns::domain::Domain;
use dialtone_shared::record::binding::is_dns_name;
use dialtone_shared::{Name, NameError};
use std::collections::HashMap;
use std::str::FromStr;

/// The aliases of one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aliases(HashMap<Domain, Name>);

/// Why a file of aliases, or a change to it, is refused. The writer's turn.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AliasError {
    /// A line that is not an alias.
    #[error("line {line}: {problem}")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: AliasProblem,
    },
    /// What was to be added or removed is not an alias.
    #[error(transparent)]
    Asked(#[from] AliasProblem),
    /// Too many.
    #[error("more than {ALIASES_MAX} aliases")]
    TooMany,
}

/// What is wrong with one alias.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AliasProblem {
    /// Not a DNS name.
    #[error("{0:?} is not a DNS name: letters, digits, `-` and `_` between dots, at most 253 characters")]
    Alias(String),
    /// No name after the alias.
    #[error("no name after the alias: write `alias  <name>`")]
    MissingName,
    /// Something after the name.
    #[error("{0:?} after the name: write `alias  <name>`, and comments after `#`")]
    Trailing(String),
    /// Not a flat name.
    #[error("{text:?} is not a name: {error}")]
    Name {
        /// What stands there.
        text: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// Twice the same alias.
    #[error("{0:?} is given twice; the first is on line {1}")]
    Twice(String, usize),
}

/// Most aliases of a file: what one map in memory holds easily, and one person can know.
pub const ALIASES_MAX: usize = 100_000;

impl Aliases {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`AliasError`], the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, AliasError> {
        let mut aliases = HashMap::new();
        let mut lines = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let at = |problem| AliasError::Line {
                line: line_number,
                problem,
            };
            let Some((alias, name)) = parse_line(line).map_err(at)? else {
                continue;
            };
            if let Some(first) = lines.insert(alias.clone(), line_number) {
                return Err(at(AliasProblem::Twice(alias.to_string(), first)));
            }
            if aliases.len() >= ALIASES_MAX {
                return Err(AliasError::TooMany);
            }
            aliases.insert(alias, name);
        }
        Ok(Self(aliases))
    }

    /// The name that `alias` stands for.
    pub fn get(&self, alias: &Domain) -> Option<&Name> {
        self.0.get(alias)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in order of the alias.
    pub fn iter(&self) -> impl Iterator<Item = (&Domain, &Name)> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_cached_key(|(alias, _)| alias.to_string().to_ascii_lowercase());
        all.into_iter()
    }
}

/// The text of a file with `alias` standing for `name`: its line changed where it has one, otherwise a new line at the end.
///
/// # Errors
/// [`AliasError`] if `text` is not a file of aliases, or `alias` not an alias.
pub fn with_alias(text: &str, alias: &str, name: &Name) -> Result<String, AliasError> {
    let asked = parse_alias(alias)?;
    if Aliases::parse(text)?.0.get(&asked) == Some(name) {
        return Ok(text.to_owned());
    }
    let fresh = format!("{asked}  {name}");
    let mut found = false;
    let mut out = String::with_capacity(text.len() + fresh.len() + 1);
    for line in text.split_inclusive('\n') {
        if is_line_of(line, &asked) {
            found = true;
            let body = line.trim_end_matches(['\n', '\r']);
            out.push_str(&fresh);
            if let Some(comment) = body.find('#') {
                out.push_str("  ");
                out.push_str(&body[comment..]);
            }
            out.push_str(&line[body.len()..]);
        } else {
            out.push_str(line);
        }
    }
    if !found {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&fresh);
        out.push('\n');
    }
    Ok(out)
}

/// The text of a file without the line of `alias`; `None` if it has none.
///
/// # Errors
/// [`AliasError`] if `text` is not a file of aliases, or `alias` not an alias.
pub fn without_alias(text: &str, alias: &str) -> Result<Option<String>, AliasError> {
    let asked = parse_alias(alias)?;
    if Aliases::parse(text)?.get(&asked).is_none() {
        return Ok(None);
    }
    Ok(Some(text.split_inclusive('\n').filter(|line| !is_line_of(line, &asked)).collect()))
}

fn is_line_of(line: &str, alias: &Domain) -> bool {
    matches!(parse_line(line), Ok(Some((found, _))) if found == *alias)
}

/// One line: an alias and its name, or nothing but a comment.
fn parse_line(line: &str) -> Result<Option<(Domain, Name)>, AliasProblem> {
    let body = line.split('#').next().unwrap_or_default();
    let mut words = body.split_whitespace();
    let Some(alias) = words.next() else {
        return Ok(None);
    };
    let alias = parse_alias(alias)?;
    let text = words.next().ok_or(AliasProblem::MissingName)?;
    let name = Name::from_str(text).map_err(|error| AliasProblem::Name {
        text: text.to_owned(),
        error,
    })?;
    match words.next() {
        Some(more) => Err(AliasProblem::Trailing(more.to_owned())),
        None => Ok(Some((alias, name))),
    }
}

fn parse_alias(text: &str) -> Result<Domain, AliasProblem> {
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    match Domain::from_text(&lower) {
        Ok(domain) if is_dns_name(&lower) => Ok(domain),
        _ => Err(AliasProblem::Alias(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(seed: &str) -> Name {
        Name::of_content(seed.as_bytes())
    }

    fn domain(text: &str) -> Domain {
        Domain::from_text(text).expect(text)
    }

    #[test]
    fn a_file_is_read_with_its_comments_and_cases() {
        let (home, work) = (name("home"), name("work"));
        let text = format!("# ours\n\n  Home.  {home} # mine\nwww.Work.example\t{}\r\n", work.to_uri());
        let aliases = Aliases::parse(&text).expect("aliases");
        assert_eq!(aliases.len(), 2);
        assert_eq!(aliases.get(&domain("HOME")), Some(&home));
        assert_eq!(aliases.get(&domain("www.work.example")), Some(&work));
        assert_eq!(aliases.get(&domain("a.home")), None);
    }

    #[test]
    fn a_wrong_line_is_named_with_the_reason() {
        let home = name("home");
        let mistyped = format!("{}y", &home.to_string()[..55]);
        for (text, line, says) in [
            ("home".to_owned(), 1, "no name"),
            (format!("# x\nho me {home}"), 2, "is not a name"),
            (format!("home {home} x"), 1, "after the name"),
            (format!("a..b {home}"), 1, "not a DNS name"),
            (format!("home {home}\nHOME {home}"), 2, "line 1"),
            (format!("\n\nhome {mistyped}"), 3, "checksum"),
        ] {
            let error = Aliases::parse(&text).expect_err(&text).to_string();
            assert!(
                error.starts_with(&format!("line {line}: ")) && error.contains(says),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn an_edit_changes_one_line_and_keeps_the_rest() {
        let (old, new) = (name("old"), name("new"));
        let text = format!("# ours\r\nhome {old} # mine\r\nwork {old}");
        let changed = with_alias(&text, "Home", &new).expect("changed");
        assert_eq!(changed, format!("# ours\r\nhome  {new}  # mine\r\nwork {old}"));
        let added = with_alias(&text, "car", &new).expect("added");
        assert_eq!(added, format!("{text}\ncar  {new}\n"));
        assert_eq!(with_alias(&text, "home", &old).as_deref(), Ok(text.as_str()));
        assert_eq!(with_alias("", "car", &new), Ok(format!("car  {new}\n")));
        assert_eq!(without_alias(&text, "HOME."), Ok(Some(format!("# ours\r\nwork {old}"))));
        assert_eq!(without_alias(&text, "car"), Ok(None));
        assert!(with_alias("broken", "car", &new).is_err());
        assert!(with_alias(&text, "a b", &new).is_err());
    }
}
