//! How the device manager's internal routes write what a slot holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::SlotState;
use crate::ids::SerialNumber;

/// [`SlotState`] as members.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WireSlotState {
    device_exists: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial_number: Option<SerialNumber>,
}

impl From<SlotState> for WireSlotState {
    fn from(state: SlotState) -> Self {
        let (device_exists, version, serial_number) = match state {
            SlotState::NoDevice => (false, None, None),
            SlotState::Empty => (true, None, None),
            SlotState::Holding {
                version,
                serial_number,
            } => (true, Some(version), Some(serial_number)),
        };
        Self {
            device_exists,
            version,
            serial_number,
        }
    }
}

/// Members that describe no state of a slot.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no state of an identity slot")]
pub(crate) struct NoSlotState;

impl TryFrom<WireSlotState> for SlotState {
    type Error = NoSlotState;

    fn try_from(wire: WireSlotState) -> Result<Self, NoSlotState> {
        match (wire.device_exists, wire.version, wire.serial_number) {
            (false, None, None) => Ok(Self::NoDevice),
            (true, None, None) => Ok(Self::Empty),
            (true, Some(version), Some(serial_number)) => Ok(Self::Holding {
                version,
                serial_number,
            }),
            (false | true, _, _) => Err(NoSlotState),
        }
    }
}
