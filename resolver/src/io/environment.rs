//! What the environment says: which providers, and where state is kept.

use crate::error::StubError;
use crate::settings::{PROVIDER_DEFAULT, PROVIDER_VARIABLE, ProviderAt, STATE_VARIABLE, providers_of};
use std::env;
use std::path::PathBuf;

/// The providers to ask when none are set: the environment's, or the one on localhost.
///
/// # Errors
/// [`StubError::Variable`].
pub fn providers() -> Result<Vec<ProviderAt>, StubError> {
    let listed = match env::var(PROVIDER_VARIABLE) {
        Ok(list) => providers_of(&list).map_err(StubError::Variable)?,
        Err(_) => Vec::new(),
    };
    if listed.is_empty() {
        return providers_of(PROVIDER_DEFAULT).map_err(StubError::Variable);
    }
    Ok(listed)
}

/// The folder for what must outlive the process: `$DIALTONE_STATE`, `$XDG_STATE_HOME/dialtone` or `~/.local/state/dialtone`
/// (XDG base directories); `None` where there is no home.
pub fn state_folder() -> Option<PathBuf> {
    let absolute = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    env::var_os(STATE_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| absolute("XDG_STATE_HOME").map(|path| path.join("dialtone")))
        .or_else(|| absolute("HOME").map(|path| path.join(".local/state/dialtone")))
}
