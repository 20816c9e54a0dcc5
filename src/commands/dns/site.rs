//! `dialtone dns --site FOLDER`: the organisation's own names, kept in that folder and answered while no provider can be reached.

use crate::exit::{Exit, Failure, Outcome, plain};
use crate::failures;
use dialtone_resolver::io::alias_file::AliasFile;
use dialtone_resolver::io::site::{OwnNames, Site};
use dialtone_resolver::io::site_folder::SiteFolder;
use dialtone_resolver::settings::SITE_NAMES_MAX;
use dialtone_resolver::{Stub, StubSettings};
use dialtone_shared::Name;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What is said of it: where, and which names.
#[derive(Debug)]
pub struct SiteSettings {
    /// The folder.
    pub folder: PathBuf,
    /// The names; empty: those of the map.
    pub names: Vec<String>,
}

/// A frontend's source, made.
#[derive(Debug)]
pub struct Made {
    /// The stub.
    pub stub: Stub,
    /// What stands in front of it.
    pub site: Option<Arc<Site>>,
    /// What names stand under.
    pub origin: String,
}

/// The names of a list.
///
/// # Errors
/// One that is none, or too many.
pub fn names_of(list: &[String]) -> Result<Vec<Name>, Failure> {
    if list.len() > SITE_NAMES_MAX {
        return Err(Failure::new(
            Exit::Settings,
            "site names",
            format!("{} are more than the {SITE_NAMES_MAX} of one site", list.len()),
        ));
    }
    let read = |text: &String| {
        Name::from_str(text).map_err(|error| {
            Failure::new(Exit::Settings, format!("site name `{text}`"), error)
                .help("write names themselves here; petnames stand in the map file")
        })
    };
    list.iter().map(read).collect()
}

/// Finds the providers, and takes the folder where one is set: then it is no failure that none answers now.
///
/// # Errors
/// No provider is found and nothing is kept, or the folder cannot be used.
pub async fn make(stub: StubSettings, site: Option<SiteSettings>, map: &Path, origin: Option<String>) -> Result<Made, Failure> {
    let Some(site) = site else {
        let stub = Stub::connect(stub).await.map_err(failures::stub)?;
        let origin = origin.or_else(|| said(&stub)).ok_or_else(unknown_origin)?;
        return Ok(Made { stub, site: None, origin });
    };
    let bad_folder = |error: std::io::Error| {
        Failure::new(Exit::Local, site.folder.display(), plain(&error))
            .help("choose a folder that can be written, and that no other process uses, with --site")
    };
    let folder = SiteFolder::open(&site.folder).map_err(bad_folder)?;
    let own = match &site.names[..] {
        [] => OwnNames::Map(
            AliasFile::open(map.to_owned()).map_err(|error| Failure::new(Exit::Settings, map.display(), error).help("check --map"))?,
        ),
        listed => OwnNames::Listed(names_of(listed)?),
    };
    let stub = StubSettings {
        starts_alone: true,
        // What a site keeps for such times it keeps itself, and has to hear of an error to know of them.
        stale_max: Duration::ZERO,
        ..stub
    };
    let stub = Stub::connect(stub).await.map_err(failures::stub)?;
    let found = said(&stub);
    if let Some(found) = &found {
        folder.set_origin(found).map_err(bad_folder)?;
    }
    let origin = origin
        .or(found)
        .or_else(|| folder.origin())
        .ok_or_else(|| unknown_origin().help("no provider could be reached, and this site has not heard from one yet"))?;
    let site = Site::keep(stub.clone(), own, folder).await.map_err(bad_folder)?;
    Ok(Made {
        stub,
        site: Some(Arc::new(site)),
        origin,
    })
}

/// A site, for Prometheus.
#[derive(Debug)]
pub struct Counted(pub Arc<Site>);

impl Collector for Counted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (names, current) = self.0.holdings();
        for (name, help, value) in [
            ("dialtone_site_names", "Names of the site's own, and those that they lead to", names),
            (
                "dialtone_site_kept",
                "Names of them whose record is kept here and may be given now",
                current,
            ),
            (
                "dialtone_site_cut_off",
                "1 while no provider answers",
                usize::from(self.0.is_cut_off()),
            ),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
        }
        Ok(())
    }
}

/// What the start line says of a site.
pub fn line(site: &Site) -> String {
    let (names, current) = site.holdings();
    let reached = if site.is_cut_off() { ", and no provider answers" } else { "" };
    let nothing = if names == 0 {
        ": it has nothing to keep until names stand in the map file (`--map`), or `--site-name` names some"
    } else {
        ""
    };
    format!("  a site with {names} names of its own, {current} of them kept here so far{reached}{nothing}")
}

/// What the providers say that names stand under; the first that was found has the say.
fn said(stub: &Stub) -> Option<String> {
    stub.health().into_iter().find_map(|at| at.origin)
}

fn unknown_origin() -> Failure {
    Failure::new(Exit::Settings, "origin", "no provider says what it is").help("set it with --origin")
}

/// Whether the settings of a site make sense together.
///
/// # Errors
/// Names without a folder, or names that are none.
pub fn check(folder: Option<&Path>, names: &[String], path: &Path) -> Outcome {
    if folder.is_none() && !names.is_empty() {
        return Err(Failure::new(
            Exit::Settings,
            path.display(),
            "names of a site without a folder to keep them in",
        ));
    }
    names_of(names).map(drop)
}
