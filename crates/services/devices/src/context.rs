//! What every change of a device carries along.

use lamassu_core::caller::Caller;
use time::OffsetDateTime;

use crate::group_watch::GroupCache;
use crate::service::DevicesService;
use crate::store::CountBucket;
use crate::values::IndexedPath;

/// Who changes a device, when, and where this process counts devices.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangeContext<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) now: OffsetDateTime,
    pub(crate) bucket: CountBucket,
    /// The groups that tell who comes and goes.
    pub(crate) groups: &'a GroupCache,
    /// Where in metadata devices are found by value.
    pub(crate) indexed: &'a [IndexedPath],
}

impl DevicesService {
    /// The context of a change that `caller` makes now.
    pub(crate) fn change_by<'a>(&'a self, caller: &'a Caller) -> ChangeContext<'a> {
        ChangeContext {
            caller,
            now: self.db.now(),
            bucket: self.bucket,
            groups: &self.groups,
            indexed: &self.indexed,
        }
    }
}
