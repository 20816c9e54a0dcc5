//! The map file of petnames: what a person calls a name, read wherever a name is asked for, edited by `dialtone alias`.

use crate::bindings;
use crate::exit::{Exit, Failure};
use dialtone_resolver::dns::Domain;
use dialtone_resolver::dns::aliases::{AliasError, Aliases};
use dialtone_shared::{Name, NameError};
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The file's text; a file that is not there is empty.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::file(path, &error)),
    }
}

/// The aliases of the file.
///
/// # Errors
/// It cannot be read, or a line of it is wrong.
pub fn load(path: &Path) -> Result<Aliases, Failure> {
    Aliases::parse(&read(path)?).map_err(|error| wrong(path, &error))
}

/// Replaces the file at once: whoever reads it sees the old text or the new, never a part.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    // A map that is a link to another place stays one.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| Failure::file(path, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    let draft = folder.join(format!(".dialtone-names-{}", std::process::id()));
    let written = std::fs::File::create(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    written.map_err(failed)
}

/// The name that was meant: a flat name in any form, or a petname of the map.
///
/// # Errors
/// It is neither; what is wrong with it as a name is said.
pub fn resolve(typed: &str, map: &Path) -> Result<Name, Failure> {
    let error = match bindings::parse_name(typed) {
        Ok(name) => return Ok(name),
        Err(error) => error,
    };
    let shown = crate::show::printable(typed);
    if let Ok(alias) = Domain::from_text(&typed.to_ascii_lowercase()) {
        let aliases = load(map)?;
        if let Some(name) = aliases.get(&alias) {
            return Ok(*name);
        }
        match aliases.covering(&alias) {
            Some(mapped) if mapped.labels.is_empty() => return Ok(mapped.name),
            Some(mapped) => {
                let why = format!(
                    "{} says that this is below {}, and only names are resolved",
                    map.display(),
                    mapped.name
                );
                let help = format!("resolve {}: it shows what is below, too; or ask a DNS frontend", mapped.apex);
                return Err(Failure::new(Exit::BadInput, format!("`{shown}`"), why).help(help));
            }
            None => {}
        }
    }
    if let Some(above) = typed.split('.').skip(1).find(|label| bindings::parse_name(label).is_ok()) {
        return Err(Failure::new(
            Exit::BadInput,
            format!("`{shown}`"),
            "this is below a name, and only names are resolved",
        )
        .help(format!("resolve {above}: it shows what is below, too; or ask a DNS frontend")));
    }
    let failure = Failure::new(Exit::BadInput, format!("`{shown}`"), &error);
    Err(match error {
        NameError::Length(_) if typed.contains('/') => {
            failure.help("that looks like the address of a page: leave out what stands before the name and after it")
        }
        NameError::Length(_) if typed.contains('.') => Failure::new(
            Exit::BadInput,
            format!("`{shown}`"),
            format!("a domain in which no flat name stands, and no petname of {}", map.display()),
        )
        .help(format!(
            "`dialtone alias {shown} NAME` makes it a petname; other domains are for a DNS frontend (`dialtone dns --forward`)"
        )),
        // So long a word was meant to be a name, and as a petname the slip would stay.
        NameError::Length(length) if length > PETNAME_LIKELY_CHARS => {
            failure.help("copy the name again: some of it is missing, or there is more than it")
        }
        NameError::Length(_) => failure
            .help(format!(
                "it is no petname of {} either: `dialtone alias {shown} NAME` makes it one",
                map.display()
            ))
            .help("a name has 56 characters, a pkarr or iroh key 52; or it stands as dialtone:<name> or <name>.<origin>"),
        NameError::Alphabet { .. } | NameError::Checksum | NameError::NonCanonical => {
            failure.help("copy the name again: a character was changed")
        }
        NameError::Scheme(_) => failure.help("a newer version of dialtone may know it"),
        NameError::Bytes(_) | NameError::Origin(_) => failure,
    })
}

/// The longest word that is taken for a petname that is not there, rather than for a name with a slip, in characters.
const PETNAME_LIKELY_CHARS: usize = 40;

/// What a change to the map, or reading it, failed with.
pub fn wrong(path: &Path, error: &AliasError) -> Failure {
    match error {
        AliasError::Line { .. } => {
            Failure::new(Exit::Settings, path.display(), error).help("correct or remove that line: `alias  name`, and comments after #")
        }
        AliasError::Asked(problem) => Failure::new(Exit::BadInput, "alias", problem),
        AliasError::TooMany => Failure::new(Exit::Settings, path.display(), error).help("remove some, or use several maps"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_for_many_names_leads_to_is_resolved_and_what_is_below_is_said_to_be() {
        let folder = tempfile::tempdir().expect("folder");
        let map = folder.path().join("map");
        let [zone, each] = [&b"zone"[..], b"each"].map(Name::of_content);
        write(&map, &format!(".zone.example {zone}\n*.each.example {each}\n")).expect("written");
        for (typed, name) in [("zone.example", zone), ("Zone.Example", zone), ("any.each.example", each)] {
            assert_eq!(resolve(typed, &map).expect(typed), name);
        }
        let below = resolve("www.zone.example", &map).expect_err("only names are resolved").to_string();
        assert!(below.contains("zone.example") && below.contains(&zone.to_string()), "{below}");
        assert!(resolve("each.example", &map).is_err(), "not the domain itself");
    }
}
