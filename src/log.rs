//! Log lines on standard error: quiet for verbs that answer and leave, as set for verbs that stay.

use crate::args::{LogArgs, LogFormat};
use crate::exit::{Exit, Failure, Outcome};
use dialtone_provider::settings::{self, LogSettings};
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::try_new(format!("{LIBRARIES},{text}")).map_err(|error| {
        Failure::new(Exit::Settings, by, error).help("write a level (error, warn, info, debug, trace), or `info,dialtone_provider=debug`")
    })?;
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

const LIBRARIES: &str = "fjall=warn,lsm_tree=warn,quinn=warn,quinn_proto=warn,rustls=warn,hyper=warn,hyper_util=warn";
