//! As many open files as the system lets this process have. Connections are files: with the usual 1,024 a few clients could take them
//! all, and a store that cannot open a table takes no more puts.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit to what an unprivileged process may have. For verbs that stay.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    if before == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(?before, after = ?limit.current, "more open files are allowed"),
        Err(error) => tracing::warn!(%error, ?before, "the limit of open files stays as it is: `ulimit -n` raises it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afterwards_as_many_files_may_be_open_as_the_system_allows() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
