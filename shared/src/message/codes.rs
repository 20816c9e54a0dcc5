//! Why links are closed.

/// Why a link is closed: the number in QUIC's close frame. A sentence for people comes with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum CloseCode {
    /// The speaker stops.
    Stopping = 0,
    /// No version in common. The turn of whoever speaks the older one.
    Version = 1,
    /// The speaker has no agreement with that name.
    NoAgreement = 2,
    /// Another name than the one pinned was presented.
    WrongName = 3,
    /// What was presented does not prove the name: the record is invalid, out of date, or lists another key.
    BadProof = 4,
    /// The two agreements contradict each other. The operators' turn.
    Disagreement = 5,
    /// There is a better link between the two already.
    Duplicate = 6,
    /// Something that the protocol does not allow was said.
    Protocol = 7,
    /// Too many records that are not records.
    InvalidRecords = 8,
    /// Nothing moved for too long.
    Hold = 9,
    /// Too many records from the future: a clock is wrong.
    Clock = 10,
    /// The speaker's store cannot take more now.
    Store = 11,
    /// Too many links or greetings at once.
    Busy = 12,
    /// The agreement has changed: greet again.
    Changed = 13,
}

impl CloseCode {
    /// The code of a number in a close frame; `None` for one that this version does not know.
    pub fn from_number(number: u64) -> Option<Self> {
        use CloseCode as C;
        [
            C::Stopping,
            C::Version,
            C::NoAgreement,
            C::WrongName,
            C::BadProof,
            C::Disagreement,
            C::Duplicate,
            C::Protocol,
            C::InvalidRecords,
            C::Hold,
            C::Clock,
            C::Store,
            C::Busy,
            C::Changed,
        ]
        .into_iter()
        .find(|one| *one as u64 == number)
    }
}
