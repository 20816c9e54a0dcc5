//! Log lines on standard error: quiet for verbs that answer and leave, as set for verbs that stay.

use crate::args::{LogArgs, LogFormat};
use crate::exit::{Exit, Failure, Outcome};
use dialtone_provider::settings::{self, LogSettings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Starts logging: `DIALTONE_LOG` has the last word, then flags, then the settings of a verb that stays.
///
/// # Errors
/// A filter that means nothing.
pub fn start(args: &LogArgs, settings: Option<&LogSettings>) -> Outcome {
    let said = crate::config::variable("DIALTONE_LOG");
    let (text, by) = match (said.as_deref(), args.verbose, settings) {
        (Some(filter), _, _) => (filter, "$DIALTONE_LOG"),
        (None, 0, Some(settings)) => (settings.filter.as_str(), "`log.filter`"),
        (None, 0, None) => ("warn", "default"),
        (None, 1, _) => ("info,dialtone=debug,dialtone_provider=debug,dialtone_resolver=debug", "--verbose"),
        (None, _, _) => ("debug,dialtone=trace,dialtone_provider=trace,dialtone_resolver=trace", "--verbose"),
    };
    // What libraries say about themselves is seldom about us; whoever wants it names them.
    let filter = read(text, by)?;
    let format = args.log_format.unwrap_or(match settings.map(|settings| settings.format) {
        Some(settings::LogFormat::Json) => LogFormat::Json,
        Some(settings::LogFormat::Text) | None => LogFormat::Text,
    });
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // It can only have been started before; then it runs.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    Ok(())
}

/// Whether the settings of a log mean something.
///
/// # Errors
/// Its filter means nothing.
pub fn check(settings: &LogSettings) -> Outcome {
    read(&settings.filter, "`log.filter`").map(drop)
}

fn read(text: &str, by: &str) -> Result<EnvFilter, Failure> {
    let wrong = |why: String| {
        Failure::new(Exit::Settings, by, why)
            .help("write a level (off, error, warn, info, debug, trace), or `info,dialtone_provider=debug`")
    };
    // The library takes any other word for a part of the program, of which then everything is logged, and of the rest nothing.
    let is_no_level = |word: &&str| !word.is_empty() && !word.contains(['=', '[']) && word.parse::<LevelFilter>().is_err();
    if let Some(word) = text.split(',').map(str::trim).find(is_no_level) {
        return Err(wrong(format!("{word:?} is no level")));
    }
    EnvFilter::try_new(format!("{LIBRARIES},{text}")).map_err(|error| wrong(error.to_string()))
}

const LIBRARIES: &str = "fjall=warn,lsm_tree=warn,quinn=warn,quinn_proto=warn,rustls=warn,hyper=warn,hyper_util=warn";
