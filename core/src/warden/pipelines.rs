//! The warden's pipelines.

use std::sync::Arc;

use crate::error::Result;
use crate::work::{Pipeline, PipelineInfo, PipelineOptions};

use super::Warden;

impl Warden {
    /// Opens the pipeline of that name, as it was made. What is still to be done is worked out from the
    /// snapshot and what is stored: the first time a fraction of a second for a million files, without
    /// holding up anybody else.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none; `InvalidArgument` for one that groups files by a function: bring the
    /// function along with [`Warden::pipeline_with`].
    pub fn pipeline(&self, name: &str) -> Result<Pipeline> {
        let shared = self.inner.work.open(name)?;
        Ok(Pipeline::new(shared, Arc::new(self.clone())))
    }

    /// Opens the pipeline of that name under these options: it is made where there is none, and takes the
    /// options up where it had others. Leases in force stay.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a bad name or options that make no sense, and for a version below the one it
    /// had.
    pub fn pipeline_with(&self, name: &str, options: &PipelineOptions) -> Result<Pipeline> {
        let shared = self.inner.work.open_with(name, options)?;
        Ok(Pipeline::new(shared, Arc::new(self.clone())))
    }

    /// Lists the pipelines by name.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub fn pipelines(&self) -> Result<Vec<PipelineInfo>> {
        let stored = self.inner.work.stored()?;
        Ok(stored.into_iter().map(|(_, name, options)| PipelineInfo { name, options }).collect())
    }

    /// Removes a pipeline with all that it knows of its items. Leases in force are lost.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none.
    pub fn remove_pipeline(&self, name: &str) -> Result<()> {
        self.inner.work.remove(name)
    }
}
