//! Which provider is meant: the settings file it reads, and its data folder.

use crate::config::variable;
use crate::control::STORE;
use crate::exit::{Exit, Failure};
use crate::failures;
use clap::Args;
use dialtone_provider::Settings;
use dialtone_provider::settings::from_file;
use std::path::{Path, PathBuf};

/// Where a provider's settings and data are.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    /// The settings file; `dialtone template` prints one [env: DIALTONE_PROVIDER_CONFIG] [default: provider.toml in the data folder, if it
    /// is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder of the store, the key and the books [env: DIALTONE_DATA] [default: ./dialtone-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// What these arguments come to.
#[derive(Clone, Debug)]
pub struct Place {
    /// What the file says, with the data folder that is meant.
    pub settings: Settings,
    /// The file, whether it is there or not.
    pub file: PathBuf,
    /// Whether the file was named, rather than looked for in the data folder.
    pub named: bool,
}

impl PlaceArgs {
    /// Reads the settings: defaults, then the file, then the environment, then the flags.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn find(&self) -> Result<Place, Failure> {
        let data = self.data.clone().or_else(|| variable("DIALTONE_DATA").map(PathBuf::from));
        let config = self
            .config
            .clone()
            .or_else(|| variable("DIALTONE_PROVIDER_CONFIG").map(PathBuf::from));
        if let Some(file) = config {
            let mut settings = load(&file)?;
            if let Some(data) = data {
                settings.data = data;
            }
            let named = true;
            return Ok(Place { settings, file, named });
        }
        let data = data.unwrap_or_else(|| Settings::default().data);
        let (file, named) = (data.join(FILE), false);
        let mut settings = Settings::default();
        if file.exists() {
            settings = Settings::load(&file).map_err(failures::settings)?;
        }
        // A file in a data folder is of that folder: it may leave that out, and it cannot say another.
        let is_of_it =
            |said: &Path| std::fs::canonicalize(said).is_ok_and(|said| std::fs::canonicalize(&data).is_ok_and(|data| data == said));
        if file.exists() && settings.data != data.join(Settings::default().data) && !is_of_it(&settings.data) {
            return Err(
                Failure::new(Exit::Settings, file.display(), "it says another data folder than the one it is in")
                    .help("take `data` out of it, or name it with --config"),
            );
        }
        settings.data = data;
        Ok(Place { settings, file, named })
    }
}

/// The settings in a file. One that stands in a data folder, under the name that is looked for there, is of that folder unless it says another.
///
/// # Errors
/// It cannot be read or understood.
pub fn load(file: &Path) -> Result<Settings, Failure> {
    let mut settings = Settings::load(file).map_err(failures::settings)?;
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let is_left_out = settings.data == from_file(file, &Settings::default().data);
    let is_data = folder.join(STORE).is_dir() || (settings.identity.key.is_none() && folder.join("identity.key").is_file());
    if is_left_out && is_data && file.file_name().is_some_and(|name| name == FILE) {
        settings.data = folder.to_owned();
    }
    Ok(settings)
}

impl Place {
    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.settings.data
    }
}

/// The settings file that is looked for in a data folder.
const FILE: &str = "provider.toml";
