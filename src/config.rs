//! What is meant: defaults, then the client's settings file, then the environment, then the arguments; the later wins.
//!
//! Running without any of them works. A provider's and a frontend's own settings are in the crates that use them; here
//! is what the asking verbs share.

use crate::exit::{Exit, Failure, plain};
use clap::Args;
use dialtone_provider::settings::from_file;
use dialtone_resolver::settings::{FloorAt, PROVIDER_DEFAULT, ProviderAt, StubSettings};
use serde::Deserialize;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Whom to ask, and as what. Shared by every verb that talks to a provider.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Whom to ask")]
pub struct ClientArgs {
    /// The provider to talk to: http://HOST:PORT, https://HOST or dns://HOST:PORT/ORIGIN; repeat it for more, preferred first
    /// [env: DIALTONE_PROVIDER, separated by commas] [default: http://127.0.0.1:4380]
    #[arg(long = "provider", value_name = "URL")]
    pub providers: Vec<ProviderAt>,
    /// The map file of petnames [env: DIALTONE_MAP] [default: ~/.config/dialtone/names]
    #[arg(long, value_name = "FILE")]
    pub map: Option<PathBuf>,
    /// The client's settings file [env: DIALTONE_CONFIG] [default: ~/.config/dialtone/client.toml]
    #[arg(long, value_name = "FILE")]
    pub client_config: Option<PathBuf>,
}

/// The client's settings file, every key optional.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ClientFile {
    /// As `--provider`.
    pub providers: Option<Vec<String>>,
    /// As `--map`.
    pub map: Option<PathBuf>,
    /// The folder in which rollback floors are kept.
    pub state: Option<PathBuf>,
    /// A file with the token of an account at the provider.
    pub token_file: Option<PathBuf>,
}

impl ClientFile {
    /// Whether its providers can be asked.
    ///
    /// # Errors
    /// One of them is none.
    pub fn check(&self, path: &Path) -> Result<(), Failure> {
        let list = self.providers.iter().flatten().map(String::as_str);
        read_providers(list, &format!("{}: `providers`", path.display())).map(drop)
    }

    /// With the paths in it as they are meant in the file at `path`.
    fn found_at(mut self, path: &Path) -> Self {
        for said in [&mut self.map, &mut self.state, &mut self.token_file].into_iter().flatten() {
            *said = from_file(path, said);
        }
        self
    }
}

/// What is meant.
#[derive(Clone, Debug)]
pub struct Client {
    /// Whom to ask, preferred first.
    pub providers: Sourced<Vec<ProviderAt>>,
    /// The map of petnames.
    pub map: Sourced<PathBuf>,
    /// The folder of rollback floors; `None`: where the stub keeps them by itself.
    pub state: Sourced<Option<PathBuf>>,
    /// An account's token.
    pub token: Sourced<Option<String>>,
}

/// A value, and who said so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Who said so.
    pub source: Source,
}

/// Who said so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Nobody.
    Default,
    /// The settings file.
    File(PathBuf),
    /// A variable of the environment.
    Env(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

impl Client {
    /// Reads the file and the environment, and puts the arguments on top.
    ///
    /// # Errors
    /// A settings file that cannot be read or understood; a token file that is missing; a value that means nothing.
    pub fn load(args: &ClientArgs) -> Result<Self, Failure> {
        Self::load_over(args, None)
    }

    /// As [`Client::load`], with another file's values over those of the client's own.
    ///
    /// # Errors
    /// As [`Client::load`].
    pub fn load_over(args: &ClientArgs, over: Option<(ClientFile, &Path)>) -> Result<Self, Failure> {
        let folders = Folders::from_env(&variable);
        let named = args
            .client_config
            .clone()
            .or_else(|| variable("DIALTONE_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| folders.config.join("client.toml"));
        let mut file: ClientFile = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| bad_settings(&path, &text, &error, "client"))?,
            Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => ClientFile::default(),
            Err(error) => return Err(Failure::new(Exit::Settings, path.display(), plain(&error)).help("check --client-config")),
        };
        file = file.found_at(&path);
        let mut path = path;
        if let Some((over, its_path)) = over {
            let over = over.found_at(its_path);
            file = ClientFile {
                providers: over.providers.or(file.providers),
                map: over.map.or(file.map),
                state: over.state.or(file.state),
                token_file: over.token_file.or(file.token_file),
            };
            its_path.clone_into(&mut path);
        }
        let mut client = merge(args, &variable, &file, &path, &folders)?;
        if client.token.value.is_none()
            && let Some(token_file) = &file.token_file
        {
            let token = std::fs::read_to_string(token_file)
                .map_err(|error| Failure::new(Exit::Settings, token_file.display(), plain(&error)).help("check `token_file`"))?;
            client.token = Sourced {
                value: Some(token.trim().to_owned()),
                source: Source::File(path),
            };
        }
        Ok(client)
    }

    /// As the stub wants them.
    pub fn stub_settings(&self) -> StubSettings {
        StubSettings {
            providers: self.providers.value.clone(),
            floor: self.state.value.clone().map_or(FloorAt::StateFolder, FloorAt::Folder),
            ..StubSettings::default()
        }
    }
}

/// A variable of this process's environment; an empty one counts as not set.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A TOML file that cannot be understood: the line, the key, the reason. `template` is the one that explains the keys.
pub fn bad_settings(path: &Path, text: &str, error: &toml::de::Error, template: &str) -> Failure {
    let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
    let line = before.matches('\n').count();
    let shown = text.lines().nth(line).unwrap_or_default().trim();
    Failure::new(Exit::Settings, format!("{}, line {}", path.display(), line + 1), error.message())
        .help(format!("the line reads `{shown}`"))
        .help(format!("`dialtone template {template}` prints every key with its meaning"))
}

fn merge(
    args: &ClientArgs,
    env: &impl Fn(&str) -> Option<String>,
    file: &ClientFile,
    path: &Path,
    folders: &Folders,
) -> Result<Client, Failure> {
    let said = (!args.providers.is_empty()).then(|| args.providers.clone());
    let providers = match (said, env("DIALTONE_PROVIDER"), &file.providers) {
        (Some(value), _, _) => Sourced {
            value,
            source: Source::Flag("--provider"),
        },
        (None, Some(text), _) => Sourced {
            value: read_providers(text.split(','), "$DIALTONE_PROVIDER")?,
            source: Source::Env("DIALTONE_PROVIDER"),
        },
        (None, None, Some(list)) => Sourced {
            value: read_providers(list.iter().map(String::as_str), &path.display().to_string())?,
            source: Source::File(path.to_owned()),
        },
        (None, None, None) => Sourced {
            value: read_providers([PROVIDER_DEFAULT].into_iter(), "default")?,
            source: Source::Default,
        },
    };
    let pick = |arg: Option<PathBuf>, flag, name, file: &Option<PathBuf>| {
        let (value, source) = match (arg, env(name), file) {
            (Some(value), _, _) => (value, Source::Flag(flag)),
            (None, Some(text), _) => (text.into(), Source::Env(name)),
            (None, None, Some(value)) => (value.clone(), Source::File(path.to_owned())),
            (None, None, None) => return None,
        };
        Some(Sourced { value, source })
    };
    Ok(Client {
        providers,
        map: pick(args.map.clone(), "--map", "DIALTONE_MAP", &file.map).unwrap_or_else(|| Sourced {
            value: folders.config.join("names"),
            source: Source::Default,
        }),
        state: match pick(None, "", "DIALTONE_STATE", &file.state) {
            Some(Sourced { value, source }) => Sourced {
                value: Some(value),
                source,
            },
            None => Sourced {
                value: None,
                source: Source::Default,
            },
        },
        token: match env("DIALTONE_TOKEN") {
            Some(token) => Sourced {
                value: Some(token),
                source: Source::Env("DIALTONE_TOKEN"),
            },
            None => Sourced {
                value: None,
                source: Source::Default,
            },
        },
    })
}

fn read_providers<'a>(list: impl Iterator<Item = &'a str>, said_by: &str) -> Result<Vec<ProviderAt>, Failure> {
    list.map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|error| Failure::new(Exit::Settings, said_by, error)))
        .collect()
}

/// Where a person's files go (XDG Base Directory Specification).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folders {
    /// Settings and petnames.
    pub config: PathBuf,
    /// Keys and stores of `dialtone up`.
    pub data: PathBuf,
}

impl Folders {
    /// As the environment says; without a home, the current folder.
    pub fn from_env(env: &impl Fn(&str) -> Option<String>) -> Self {
        let home = env("HOME").map(PathBuf::from).unwrap_or_default();
        // The specification ignores relative paths in these variables.
        let folder = |variable: &str, below: &str| {
            env(variable)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .unwrap_or_else(|| home.join(below))
                .join("dialtone")
        };
        Self {
            config: folder("XDG_CONFIG_HOME", ".config"),
            data: folder("XDG_DATA_HOME", ".local/share"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn providers(args: &[&str], pairs: &[(&str, &str)], file: &str) -> Sourced<Vec<ProviderAt>> {
        let args = ClientArgs {
            providers: args.iter().map(|url| url.parse().unwrap()).collect(),
            ..ClientArgs::default()
        };
        let file = toml::from_str(file).unwrap();
        let env = env(pairs);
        merge(&args, &env, &file, Path::new("client.toml"), &Folders::from_env(&env))
            .unwrap()
            .providers
    }

    #[test]
    fn arguments_win_over_the_environment_over_the_file_over_the_defaults() {
        let shown = |list: Sourced<Vec<ProviderAt>>| list.value.iter().map(ToString::to_string).collect::<Vec<_>>();
        let file = "providers = ['http://file']";
        let set = [("DIALTONE_PROVIDER", "http://env, http://other")];
        assert_eq!(shown(providers(&["http://arg"], &set, file)), ["http://arg"]);
        assert_eq!(shown(providers(&[], &set, file)), ["http://env", "http://other"]);
        assert_eq!(shown(providers(&[], &[], file)), ["http://file"]);
        assert_eq!(shown(providers(&[], &[], "")), [PROVIDER_DEFAULT]);
        assert_eq!(providers(&[], &set, file).source, Source::Env("DIALTONE_PROVIDER"));
    }

    #[test]
    fn folders_follow_the_environment_and_ignore_relative_paths() {
        let folders = Folders::from_env(&env(&[
            ("HOME", "/home/ada"),
            ("XDG_CONFIG_HOME", "/etc/ada"),
            ("XDG_DATA_HOME", "here"),
        ]));
        assert_eq!(folders.config, Path::new("/etc/ada/dialtone"));
        assert_eq!(folders.data, Path::new("/home/ada/.local/share/dialtone"));
    }

    #[test]
    fn paths_in_a_file_are_from_its_folder() {
        let file: ClientFile = toml::from_str("map = 'names'\ntoken_file = '/etc/token'").unwrap();
        let file = file.found_at(Path::new("/home/ada/client.toml"));
        assert_eq!(file.map.as_deref(), Some(Path::new("/home/ada/names")));
        assert_eq!(file.token_file.as_deref(), Some(Path::new("/etc/token")));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place() {
        let text = "map = 'x'\nprovider = 'y'\n";
        let error = toml::from_str::<ClientFile>(text).unwrap_err();
        let said = bad_settings(Path::new("client.toml"), text, &error, "client").to_string();
        assert!(said.contains("unknown field `provider`") && said.contains("line 2"), "{said}");
    }
}
