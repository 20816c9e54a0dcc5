//! Which provider is meant: the settings file it reads, and its data folder.

use crate::config::variable;
use crate::exit::{Exit, Failure};
use crate::failures;
use clap::Args;
use dialtone_provider::Settings;
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
            let mut settings = Settings::load(&file).map_err(failures::settings)?;
            if let Some(data) = data {
                settings.data = data;
            }
            let named = true;
            return Ok(Place { settings, file, named });
        }
        let data = data.unwrap_or_else(|| Settings::default().data);
        let (file, named) = (data.join(FILE), false);
        let mut settings = if file.exists() {
            Settings::load(&file).map_err(failures::settings)?
        } else {
            Settings::default()
        };
        // A file in a data folder is of that folder: it may leave that out, and it cannot say another.
        if settings.data != data && settings.data != Settings::default().data {
            return Err(
                Failure::new(Exit::Settings, file.display(), "it says another data folder than the one it is in")
                    .help("take `data` out of it, or name it with --config"),
            );
        }
        settings.data = data;
        Ok(Place { settings, file, named })
    }
}

impl Place {
    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.settings.data
    }
}

/// The settings file that is looked for in a data folder.
const FILE: &str = "provider.toml";
