//! The file of aliases: legacy names and petnames that somebody here has mapped onto flat names.
//!
//! ```text
//! # who we call what
//! home          <56 characters of a name>
//! www.example   <56 characters of a name>    # a comment
//! .example.com  <56 characters of a name>    # a zone: example.com, and what the name has below itself
//! *.example.net <56 characters of a name>    # every name below example.net stands for the name itself
//! ```
//!
//! The closest line counts: an exact one, and otherwise that of the longest domain. Editing keeps every other line as it is.

use crate::dns::domain::Domain;
use crate::dns::settings::ALIAS_TTL_SECS;
use dialtone_shared::record::binding::is_dns_name;
use dialtone_shared::{Name, NameError};
use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

/// The aliases of one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aliases {
    exact: HashMap<Domain, Name>,
    wide: HashMap<Domain, (Wide, Name)>,
}

/// How an alias stands for more than one name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Wide {
    /// `.example.com`: the domain and all below it, by the owners that the name has.
    Zone,
    /// `*.example.com`: all below the domain, each the name itself.
    Below,
}

/// What stands left of a name on a line.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Pattern {
    domain: Domain,
    wide: Option<Wide>,
}

/// Where a legacy name is kept: at an owner of a flat name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// The flat name.
    pub name: Name,
    /// The labels of the owner below it, lower-case, first to last.
    pub labels: Vec<Vec<u8>>,
    /// The legacy name that the flat name itself stands for.
    pub apex: Domain,
    /// For how long that may be believed, in seconds.
    pub ttl: u32,
    /// How far the flat name speaks for the legacy one.
    pub as_what: Stands,
}

/// How far a flat name speaks for a legacy domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stands {
    /// For all of it: what the name lacks below itself is not there.
    Zone,
    /// For each name below it alike: the name's own owners have no place there.
    Each,
    /// For what it has: what it lacks below itself is where it was before there was a link.
    Link,
}

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
    #[error(
        "{0:?} is not a DNS name: letters, digits, `-` and `_` between dots, at most 253 characters; `.` or `*.` before it for more than one"
    )]
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
        let mut aliases = Self::default();
        let mut lines = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let at = |problem| AliasError::Line {
                line: line_number,
                problem,
            };
            let Some((pattern, name)) = parse_line(line).map_err(at)? else {
                continue;
            };
            // A zone and a wildcard of one domain would leave open which of them counts.
            let same = (pattern.domain.clone(), pattern.wide.is_some());
            if let Some(first) = lines.insert(same, line_number) {
                return Err(at(AliasProblem::Twice(pattern.to_string(), first)));
            }
            if aliases.len() >= ALIASES_MAX {
                return Err(AliasError::TooMany);
            }
            aliases.insert(pattern, name);
        }
        Ok(aliases)
    }

    fn insert(&mut self, pattern: Pattern, name: Name) {
        match pattern.wide {
            None => drop(self.exact.insert(pattern.domain, name)),
            Some(wide) => drop(self.wide.insert(pattern.domain, (wide, name))),
        }
    }

    /// The name that exactly `alias` stands for.
    pub fn get(&self, alias: &Domain) -> Option<&Name> {
        self.exact.get(alias)
    }

    /// Where `name` is kept by the zone or wildcard that is closest to it.
    pub fn covering(&self, name: &Domain) -> Option<Mapped> {
        if self.wide.is_empty() {
            return None;
        }
        let labels: Vec<&[u8]> = name.labels().collect();
        (0..labels.len()).find_map(|cut| {
            let apex = name.without_first(cut);
            let (wide, flat) = self.wide.get(&apex)?;
            let (labels, apex, as_what) = match wide {
                Wide::Zone => (
                    labels[..cut].iter().map(|label| label.to_ascii_lowercase()).collect(),
                    apex,
                    Stands::Zone,
                ),
                Wide::Below if cut > 0 => (Vec::new(), name.clone(), Stands::Each),
                Wide::Below => return None,
            };
            let (name, ttl) = (*flat, ALIAS_TTL_SECS);
            Some(Mapped {
                name,
                labels,
                apex,
                ttl,
                as_what,
            })
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.exact.len() + self.wide.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them as they are written, in order.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Name)> {
        let exact = self.exact.iter().map(|(domain, name)| (domain, None, name));
        let wide = self.wide.iter().map(|(domain, (wide, name))| (domain, Some(*wide), name));
        let pattern = |(domain, wide, name): (&Domain, Option<Wide>, _)| {
            let domain = domain.clone();
            (Pattern { domain, wide }.to_string(), name)
        };
        let mut all: Vec<_> = exact.chain(wide).map(pattern).collect();
        all.sort_unstable();
        all.into_iter()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = match self.wide {
            None => "",
            Some(Wide::Zone) => ".",
            Some(Wide::Below) => "*.",
        };
        write!(f, "{before}{}", self.domain)
    }
}

/// The text of a file with `alias` standing for `name`: its line changed where it has one, otherwise a new line at the end.
///
/// # Errors
/// [`AliasError`] if `text` is not a file of aliases, or `alias` not an alias.
pub fn with_alias(text: &str, alias: &str, name: &Name) -> Result<String, AliasError> {
    let asked = parse_alias(alias)?;
    if Aliases::parse(text)?
        .iter()
        .any(|(pattern, flat)| pattern == asked.to_string() && flat == name)
    {
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
    if !Aliases::parse(text)?.iter().any(|(pattern, _)| pattern == asked.to_string()) {
        return Ok(None);
    }
    Ok(Some(text.split_inclusive('\n').filter(|line| !is_line_of(line, &asked)).collect()))
}

fn is_line_of(line: &str, alias: &Pattern) -> bool {
    matches!(parse_line(line), Ok(Some((found, _))) if found == *alias)
}

/// One line: an alias and its name, or nothing but a comment.
fn parse_line(line: &str) -> Result<Option<(Pattern, Name)>, AliasProblem> {
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

fn parse_alias(text: &str) -> Result<Pattern, AliasProblem> {
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (wide, bare) = match (lower.strip_prefix("*."), lower.strip_prefix('.')) {
        (Some(bare), _) => (Some(Wide::Below), bare),
        (None, Some(bare)) => (Some(Wide::Zone), bare),
        (None, None) => (None, lower.as_str()),
    };
    match Domain::from_text(bare) {
        Ok(domain) if is_dns_name(bare) => Ok(Pattern { domain, wide }),
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
    fn a_zone_keeps_the_labels_a_wildcard_does_not_and_the_closest_counts() {
        let [zone, below, exact] = ["zone", "below", "exact"].map(name);
        let text = format!(".example.com {zone}\n*.shops.Example.com {below}\nwww.example.com {exact}\n");
        let aliases = Aliases::parse(&text).expect("aliases");
        let covering = |text: &str| {
            let mapped = aliases.covering(&domain(text))?;
            let labels: Vec<String> = mapped
                .labels
                .iter()
                .map(|label| String::from_utf8_lossy(label).into_owned())
                .collect();
            Some((mapped.name, labels.join("."), mapped.apex.to_string().to_ascii_lowercase()))
        };
        let at = |name, labels: &str, apex: &str| Some((name, labels.to_owned(), domain(apex).to_string()));
        assert_eq!(covering("EXAMPLE.com"), at(zone, "", "example.com"));
        assert_eq!(covering("A.b.example.com"), at(zone, "a.b", "example.com"));
        assert_eq!(
            covering("shops.example.com"),
            at(zone, "shops", "example.com"),
            "the wildcard is for what is below"
        );
        assert_eq!(covering("x.y.shops.example.com"), at(below, "", "x.y.shops.example.com"));
        assert_eq!(covering("example.org"), None);
        assert_eq!(aliases.get(&domain("www.example.com")), Some(&exact));
        let listed: Vec<String> = aliases.iter().map(|(pattern, _)| pattern).collect();
        assert_eq!(
            listed,
            ["*.shops.example.com.", ".example.com.", "www.example.com."].map(|text| text.trim_end_matches('.').to_owned())
        );
        let both = format!(".a.example {zone}\n*.a.example {zone}\n");
        assert!(Aliases::parse(&both).expect_err("which?").to_string().contains("twice"));
        for wrong in ["*", ".", "*.", "a.*.b", "..a", "*a.b"] {
            assert!(Aliases::parse(&format!("{wrong} {zone}")).is_err(), "{wrong}");
        }
        let edited = with_alias(&text, ".example.com", &below).expect("edited");
        assert!(
            edited.contains(&format!(".example.com  {below}\n*.shops.Example.com {below}")),
            "{edited}"
        );
        assert_eq!(
            without_alias(&edited, "*.shops.example.com")
                .expect("edited")
                .expect("found")
                .lines()
                .count(),
            2
        );
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
