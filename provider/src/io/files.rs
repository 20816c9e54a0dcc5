//! How many files may be open at a time, and who gets how many. Connections are files too: what they take, the store must not lack, for
//! a table that cannot be opened ends its writing for good.

use rustix::process::{Resource, getrlimit};

/// As many of `wanted` as one kind of user may have open: a quarter of all that this process may.
pub fn share(wanted: usize) -> usize {
    share_of(getrlimit(Resource::Nofile).current, wanted)
}

fn share_of(limit: Option<u64>, wanted: usize) -> usize {
    let quarter = limit.map_or(usize::MAX, |limit| usize::try_from(limit / 4).unwrap_or(usize::MAX));
    wanted.min(quarter.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_all_is_for_each() {
        for (limit, wanted, share) in [
            (None, 1_024, 1_024),
            (Some(20_000), 1_024, 1_024),
            (Some(1_024), 1_024, 256),
            (Some(1_024), 100, 100),
            (Some(0), 100, 1),
        ] {
            assert_eq!(share_of(limit, wanted), share, "{limit:?}, {wanted}");
        }
    }
}
