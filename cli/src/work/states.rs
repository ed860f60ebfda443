//! The states that the files of a listing have in one pipeline.

use std::collections::HashMap;

use treewarden::{ErrorKind, Group, Pipeline, Warden, WorkState};

use crate::failure::Failure;
use crate::pipeline;

/// The states below one address.
pub(crate) enum States {
    /// Each file is an item by itself.
    Alone(HashMap<Vec<u8>, WorkState>),
    /// The files of a group have its state, and the pipeline knows to which they belong.
    Grouped(Pipeline),
}

impl States {
    pub(crate) fn below(warden: &Warden, name: &str, address: &[u8]) -> Result<States, Failure> {
        let pipeline = pipeline::open(warden, name)?;
        let all = warden.pipelines()?;
        let info = all.iter().find(|info| info.name == name);
        if info.is_some_and(|info| *info.options.get_group() != Group::None) {
            return Ok(States::Grouped(pipeline));
        }
        let items = pipeline.list(address, None, usize::MAX)?;
        Ok(States::Alone(items.into_iter().map(|item| (item.path, item.state)).collect()))
    }

    /// The state of a file; `None` for one that is not worked on.
    pub(crate) fn of(&self, address: &[u8]) -> Result<Option<WorkState>, Failure> {
        match self {
            States::Alone(states) => Ok(states.get(address).copied()),
            States::Grouped(pipeline) => match pipeline.explain(address) {
                Ok(explanation) => Ok(Some(explanation.state)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }
}
