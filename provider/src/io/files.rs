//! How many files may be open at a time, and who gets how many. Connections are files too: what they take, the store must not lack, for
//! a table that cannot be opened ends its writing for good.

use rustix::process::{Resource, getrlimit};

/// As many of `wanted` as one kind of user may have open: a quarter of all that this process may.
pub fn share(wanted: usize) -> usize {
    share_of(getrlimit(Resource::Nofile).current, wanted)
}

/// As many of `wanted` as the one kind of user may have open that an operator may want to be large: all but what the others need.
pub fn most(wanted: usize) -> usize {
    most_of(getrlimit(Resource::Nofile).current, wanted)
}

fn most_of(limit: Option<u64>, wanted: usize) -> usize {
    let rest = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(FILES_OF_OTHERS)
    });
    wanted.min(rest.max(share_of(limit, wanted)))
}

fn share_of(limit: Option<u64>, wanted: usize) -> usize {
    let quarter = limit.map_or(usize::MAX, |limit| usize::try_from(limit / 4).unwrap_or(usize::MAX));
    wanted.min(quarter.max(1))
}

/// What all others come to: DNS over TCP and the store 2,000, peers, logs and whoever administers the rest.
const FILES_OF_OTHERS: usize = 3_000;

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

    #[test]
    fn who_may_have_most_leaves_the_others_theirs_and_never_has_less_than_a_share() {
        for (limit, wanted, most) in [
            (None, 50_000, 50_000),
            (Some(20_000), 1_024, 1_024),
            (Some(20_000), 50_000, 17_000),
            (Some(1_024), 1_024, 256),
            (Some(0), 100, 1),
        ] {
            assert_eq!(most_of(limit, wanted), most, "{limit:?}, {wanted}");
        }
    }
}
