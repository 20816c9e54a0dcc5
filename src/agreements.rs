//! Agreements in a provider's settings file, edited as a person would: what else stands there stays, comments too.

use crate::exit::{Exit, Failure, plain};
use crate::failures;
use dialtone_provider::Settings;
use dialtone_shared::Name;
use dialtone_shared::message::{Mode, Relationship};
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

/// What is to stand in an agreement; what is `None` stays as it is, or at its default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// Where the peer is dialled.
    pub addresses: Option<Vec<String>>,
    /// What it is to us.
    pub relationship: Option<Relationship>,
    /// The most that is pushed.
    pub push: Option<Mode>,
    /// The most that is accepted.
    pub accept: Option<Mode>,
    /// Whether its queries are answered.
    pub answers: Option<bool>,
    /// Whether it is asked.
    pub asks: Option<bool>,
    /// The limits by their keys.
    pub limits: Vec<(&'static str, u64)>,
    /// Names that pass alone; empty: all do.
    pub only: Option<BTreeSet<Name>>,
    /// Names that never pass.
    pub except: Option<BTreeSet<Name>>,
    /// Whether records that are for some providers only pass.
    pub scoped: Option<bool>,
    /// A label; empty: none.
    pub price: Option<String>,
}

/// A settings file as it was read, to be written back otherwise.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    path: PathBuf,
    /// `None`: there is no such file yet.
    before: Option<String>,
    /// Held until this is dropped: two commands that edit one file at the same moment would overwrite each other.
    _lock: Arc<File>,
}

impl SettingsFile {
    /// Reads it; one that is not there yet is empty.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        // A link is followed, so that what it leads to is replaced and not the link.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let lock = lock(&path)?;
        let before = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::file(&path, &error)),
        };
        Ok(Self {
            path,
            before,
            _lock: Arc::new(lock),
        })
    }

    /// Writes the agreement with `peer` into it. Whether there was one already.
    ///
    /// # Errors
    /// The file cannot be understood or written, or the settings would not be good.
    pub fn set(&self, peer: &Name, change: &Change) -> Result<bool, Failure> {
        let mut document = self.parse()?;
        let tables = self.tables(&mut document)?;
        let found = tables.iter_mut().find(|table| names(table, peer)).map(|table| change.apply(table));
        if found.is_some() {
            self.write(&document.to_string())?;
            return Ok(true);
        }
        let mut table = Table::new();
        table.insert("name", peer.to_string().into());
        change.apply(&mut table);
        self.write(&appended(self.before.as_deref().unwrap_or_default(), table))?;
        Ok(false)
    }

    /// Takes the agreement with `peer` out of it. Whether there was one.
    ///
    /// # Errors
    /// As [`SettingsFile::set`].
    pub fn remove(&self, peer: &Name) -> Result<bool, Failure> {
        let mut document = self.parse()?;
        let tables = self.tables(&mut document)?;
        let Some(index) = tables.iter().position(|table| names(table, peer)) else {
            return Ok(false);
        };
        let gone = tables.remove(index);
        if tables.is_empty() {
            document.remove("peer");
        }
        keep_comments(&mut document, &gone);
        self.write(&document.to_string())?;
        Ok(true)
    }

    /// Puts back what was read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn restore(&self) -> Result<(), Failure> {
        match &self.before {
            Some(text) => replace(&self.path, text),
            None => std::fs::remove_file(&self.path),
        }
        .map_err(|error| Failure::file(&self.path, &error))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn parse(&self) -> Result<DocumentMut, Failure> {
        let text = self.before.as_deref().unwrap_or_default();
        // What is wrong in it is said as everywhere else.
        Settings::parse(text, &self.path.display().to_string()).map_err(failures::settings)?;
        text.parse()
            .map_err(|error: toml_edit::TomlError| Failure::new(Exit::Settings, self.path.display(), error.message()))
    }

    fn tables<'a>(&self, document: &'a mut DocumentMut) -> Result<&'a mut ArrayOfTables, Failure> {
        let item = document.entry("peer").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
        item.as_array_of_tables_mut().ok_or_else(|| {
            Failure::new(
                Exit::Settings,
                self.path.display(),
                "its agreements are not written as `[[peer]]` blocks",
            )
            .help("write each as a block")
        })
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        Settings::parse(text, &self.path.display().to_string()).map_err(failures::settings)?;
        replace(&self.path, text)
            .map_err(|error| Failure::new(Exit::Local, self.path.display(), plain(&error)).help("give this user the right to write there"))
    }
}

impl Change {
    fn apply(&self, table: &mut Table) {
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(mut value) = value {
                // The comment behind a value stays behind it.
                if let Some(before) = table.get(key).and_then(Item::as_value) {
                    *value.decor_mut() = before.decor().clone();
                }
                table.insert(key, Item::Value(value));
            }
        };
        put(
            "addresses",
            self.addresses.as_ref().map(|list| Value::Array(list.iter().collect::<Array>())),
        );
        put("relationship", self.relationship.map(|one| one.word().into()));
        put("push", self.push.map(|mode| mode.word().into()));
        put("accept", self.accept.map(|mode| mode.word().into()));
        put("answers", self.answers.map(Value::from));
        put("asks", self.asks.map(Value::from));
        for (key, limit) in &self.limits {
            put(key, Some(i64::try_from(*limit).unwrap_or(i64::MAX).into()));
        }
        let list = |names: &BTreeSet<Name>| Value::Array(names.iter().map(Name::to_string).collect::<Array>());
        put("only", self.only.as_ref().map(list));
        put("except", self.except.as_ref().map(list));
        put("scoped", self.scoped.map(Value::from));
        match self.price.as_deref() {
            Some("") => {
                table.remove("price");
            }
            price => put("price", price.map(Value::from)),
        }
    }
}

/// `text` with one more `[[peer]]` block behind everything that stands there: comments are of the section above them, and in a file that
/// came from a template they are the keys of that section, still to be uncommented.
fn appended(text: &str, block: Table) -> String {
    let mut blocks = ArrayOfTables::new();
    blocks.push(block);
    let mut document = DocumentMut::new();
    document.insert("peer", Item::ArrayOfTables(blocks));
    let text = text.trim_end();
    let gap = if text.is_empty() { "" } else { "\n\n" };
    format!("{text}{gap}{document}")
}

/// Puts the comments that stood above a block that is gone above what follows it, all but those right over its head: those were about it.
fn keep_comments(document: &mut DocumentMut, gone: &Table) {
    let above = gone.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let Some((kept, _)) = above
        .trim_end_matches(' ')
        .rsplit_once("\n\n")
        .or_else(|| above.rsplit_once("\r\n\r\n"))
    else {
        return;
    };
    let kept = kept.trim_end();
    let joined = |below: Option<&str>| format!("{kept}\n{}", below.unwrap_or_default());
    let tables = document.iter_mut().flat_map(|(_, item)| match item {
        Item::Table(table) => vec![table],
        Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
        Item::None | Item::Value(_) => Vec::new(),
    });
    let follows = tables
        .filter(|table| table.position() > gone.position())
        .min_by_key(|table| table.position());
    match follows {
        Some(table) => {
            let prefix = joined(table.decor().prefix().and_then(|prefix| prefix.as_str()));
            table.decor_mut().set_prefix(prefix);
        }
        None => {
            let trailing = joined(document.trailing().as_str());
            document.set_trailing(trailing);
        }
    }
}

fn names(table: &Table, peer: &Name) -> bool {
    let name = table.get("name").and_then(Item::as_str);
    name.is_some_and(|name| name.parse() == Ok(*peer))
}

/// The lock of a file, a file of its own beside it, kept for as long as this is. Not the folder, nor the file itself: whoever may read these could hold
/// up for ever whoever edits, and the file itself is another one after each edit.
fn lock(path: &Path) -> Result<File, Failure> {
    let folder = folder_of(path);
    let mut beside = path.as_os_str().to_owned();
    beside.push(LOCK_SUFFIX);
    let beside = PathBuf::from(beside);
    let opened = std::fs::create_dir_all(folder).and_then(|()| {
        let known = beside.exists();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&beside)?;
        if !known && let Ok(about) = std::fs::metadata(path).or_else(|_| std::fs::metadata(folder)) {
            // Made by root, it would keep out whose settings they are. Nobody else may give it away, or needs to.
            let _ = fchown(&file, Some(about.uid()), Some(about.gid()));
        }
        Ok(file)
    });
    let file = opened.map_err(|error| Failure::file(&beside, &error))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(Exit::Busy, path.display(), "another command is editing it").help("try again when that is done"));
            }
            // A file system without locks: as it was before there were any.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// Writes a file whole or not at all; who may read it stays who could.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = folder_of(path);
    std::fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(text.as_bytes())?;
    if let Ok(about) = std::fs::metadata(path) {
        draft
            .as_file()
            .set_permissions(std::fs::Permissions::from_mode(about.permissions().mode()))?;
    }
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    Ok(())
}

/// What a lock is called beside its file.
const LOCK_SUFFIX: &str = ".lock";
/// How long one command waits for another: longer than a provider takes to apply its settings.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\ndata = 'd' # here\n\n# a friend\n[[peer]]\nname = \"NAME\" # Ada's\nrelationship = \"mutual\" # for now\n\n[http]\n# nothing\n";

    fn peer(n: u8) -> Name {
        Name::key_set([n; 32])
    }

    fn folder(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        std::fs::write(&path, text.replace("NAME", &peer(1).to_string())).unwrap();
        (folder, path)
    }

    fn change() -> Change {
        Change {
            relationship: Some(Relationship::Customer),
            push: Some(Mode::Pointers),
            limits: vec![("names_max", 7)],
            ..Change::default()
        }
    }

    #[test]
    fn an_agreement_is_changed_and_all_comments_stay() {
        let (_folder, path) = folder(FILE);
        assert!(SettingsFile::read(&path).unwrap().set(&peer(1), &change()).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        for comment in ["# mine", "# here", "# a friend", "# Ada's", "# for now", "# nothing"] {
            assert!(text.contains(comment), "{text}");
        }
        let settings = Settings::parse(&text, "p").unwrap();
        assert_eq!(settings.peers.len(), 1);
        assert_eq!((settings.peers[0].push, settings.peers[0].names_max), (Mode::Pointers, 7));
        assert_eq!(settings.peers[0].relationship, Relationship::Customer);
    }

    #[test]
    fn an_agreement_is_added_to_a_file_with_others_and_to_one_that_is_not_there() {
        let (folder, path) = folder(FILE);
        for path in [path, folder.path().join("new/provider.toml")] {
            let change = Change {
                addresses: Some(vec!["a.example:4381".into(), "[::1]:1".into()]),
                asks: Some(false),
                price: Some("gold".into()),
                ..change()
            };
            assert!(!SettingsFile::read(&path).unwrap().set(&peer(2), &change).unwrap());
            let settings = Settings::load(&path).unwrap();
            let added = settings.peers.iter().find(|found| found.name == peer(2)).unwrap();
            assert_eq!(added.addresses, ["a.example:4381", "[::1]:1"]);
            assert!(!added.asks && added.answers && added.price.as_deref() == Some("gold"));
        }
    }

    #[test]
    fn a_template_keeps_its_shape_when_agreements_come_and_go() {
        let template = include_str!("../etc/provider.toml");
        let (_folder, path) = folder(template);
        let read = || std::fs::read_to_string(&path).unwrap();
        for n in [2, 3] {
            SettingsFile::read(&path).unwrap().set(&peer(n), &change()).unwrap();
        }
        assert!(
            read().starts_with(template),
            "what stood there stands there, and the agreement below it"
        );
        // Every default can be uncommented still: it is in the section in which it was.
        let uncommented: String = read()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if rest.starts_with(|first: char| first.is_ascii_lowercase()) => format!("{rest}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let mut settings = Settings::parse(&uncommented, "p").unwrap();
        let peers = std::mem::take(&mut settings.peers);
        assert_eq!(settings, Settings::default());
        assert_eq!(peers.iter().map(|found| found.name).collect::<Vec<_>>(), [peer(2), peer(3)]);
        for n in [2, 3] {
            assert!(SettingsFile::read(&path).unwrap().remove(&peer(n)).unwrap());
        }
        assert_eq!(read().trim_end(), template.trim_end());
    }

    #[test]
    fn an_agreement_in_the_midst_goes_with_its_own_comment_only() {
        let text = "[http]\n# of http\n\n# Ada's\n[[peer]]\nname = \"NAME\"\n# behind\n\n[log]\n# of the log\n";
        let (_folder, path) = folder(text);
        assert!(SettingsFile::read(&path).unwrap().remove(&peer(1)).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "[http]\n# of http\n# behind\n\n[log]\n# of the log\n");
    }

    #[test]
    fn lists_are_set_and_taken_back_and_so_is_the_price() {
        let (_folder, path) = folder(FILE);
        let set = |change: &Change| {
            SettingsFile::read(&path).unwrap().set(&peer(1), change).unwrap();
            Settings::load(&path).unwrap().peers.remove(0)
        };
        let listed = set(&Change {
            only: Some([peer(3), peer(4)].into()),
            except: Some([peer(4)].into()),
            scoped: Some(false),
            price: Some("gold".into()),
            ..Change::default()
        });
        assert_eq!((listed.only, listed.except), ([peer(3), peer(4)].into(), [peer(4)].into()));
        assert!(!listed.scoped && listed.price.as_deref() == Some("gold"));
        let cleared = set(&Change {
            only: Some(BTreeSet::new()),
            price: Some(String::new()),
            ..Change::default()
        });
        assert!(cleared.only.is_empty() && cleared.except.len() == 1 && cleared.price.is_none());
    }

    #[test]
    fn agreements_that_are_added_at_the_same_moment_are_all_there() {
        let (_folder, path) = folder(FILE);
        std::thread::scope(|scope| {
            for n in 2..10 {
                let path = &path;
                scope.spawn(move || SettingsFile::read(path).unwrap().set(&peer(n), &change()).unwrap());
            }
        });
        assert_eq!(Settings::load(&path).unwrap().peers.len(), 9);
    }

    #[test]
    fn nobody_who_may_only_read_the_folder_holds_up_an_edit() {
        let (folder, path) = folder(FILE);
        let held = [folder.path(), &path].map(|held| File::open(held).unwrap());
        held.iter().for_each(|held| held.lock().unwrap());
        assert!(!SettingsFile::read(&path).unwrap().set(&peer(2), &change()).unwrap());
        let lock = std::fs::metadata(folder.path().join("p.toml.lock")).unwrap();
        assert_eq!(lock.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_agreement_is_removed_and_the_rest_stays() {
        let (_folder, path) = folder(FILE);
        let file = SettingsFile::read(&path).unwrap();
        assert!(!file.remove(&peer(2)).unwrap());
        assert!(file.remove(&peer(1)).unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("# mine") && text.contains("[http]") && !text.contains("[[peer]]"),
            "{text}"
        );
        file.restore().unwrap();
        assert_eq!(Settings::load(&path).unwrap().peers.len(), 1);
    }

    #[test]
    fn a_file_with_a_mistake_or_another_shape_is_left_alone() {
        for text in ["dta = 1\n", "[[peer]]\nname = 'x'\n", "peer = []\n", "[http\n"] {
            let (_folder, path) = folder(text);
            let file = SettingsFile::read(&path).unwrap();
            let failure = file.set(&peer(1), &change()).unwrap_err();
            assert_eq!(failure.exit, Exit::Settings, "{text}: {failure}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_change_that_makes_the_settings_bad_is_not_written() {
        let (_folder, path) = folder(FILE);
        let before = std::fs::read_to_string(&path).unwrap();
        let change = Change {
            price: Some("two words".into()),
            ..Change::default()
        };
        assert!(SettingsFile::read(&path).unwrap().set(&peer(1), &change).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    }

    #[test]
    fn who_may_read_the_file_stays_and_a_link_stays_a_link() {
        let (folder, path) = folder(FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        SettingsFile::read(&link).unwrap().set(&peer(1), &change()).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(Settings::load(&path).unwrap().peers[0].push, Mode::Pointers);
    }
}
