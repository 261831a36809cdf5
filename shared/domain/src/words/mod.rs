//! Names and values without rules: what the other layers speak of.

pub mod address;
pub mod alert;
pub mod audit;
pub mod cause;
pub mod delivery;
pub mod event;
pub mod evidence;
pub mod guid;
pub mod hex;
pub mod id;
pub mod invalid;
pub mod notice;
pub mod passed_over;
pub mod policy;
pub mod role;
pub mod spent;
pub mod state;
pub mod trial;
