//! Jobs and items of a pipeline in lists that are tables, too.

use pyo3::prelude::*;
use treewarden::{WorkItem, escape};

use super::group;
use super::job::{Job, Sources};
use crate::arrow;
use crate::event_types;
use crate::html;
use crate::sequence::{ItemIter, Items, out_of_range};

/// Jobs in a list, with indices and slices. It is a table, too: ``polars.DataFrame(jobs)``.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct JobList {
    jobs: Vec<Py<Job>>,
}

impl JobList {
    pub(super) fn of(py: Python<'_>, jobs: Vec<treewarden::Job>, sources: &Sources) -> PyResult<Self> {
        let jobs = jobs.into_iter().map(|job| Py::new(py, Job::new(job, sources)));
        Ok(Self { jobs: jobs.collect::<PyResult<_>>()? })
    }
}

impl Items for JobList {
    fn places(&self) -> usize {
        self.jobs.len()
    }

    fn item(&self, py: Python<'_>, place: usize) -> PyResult<Py<PyAny>> {
        let job = self.jobs.get(place).ok_or_else(out_of_range)?;
        Ok(job.clone_ref(py).into_any())
    }
}

#[pymethods]
impl JobList {
    fn __len__(&self) -> usize {
        self.places()
    }

    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.picked(py, index)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> ItemIter {
        ItemIter::over(slf.as_any())
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> ItemIter {
        ItemIter::back_over(slf.as_any())
    }

    /// Returns the place of a job. ``ValueError`` where it is not in the list.
    #[pyo3(signature = (value, start=0, stop=None))]
    fn index(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        start: isize,
        stop: Option<isize>,
    ) -> PyResult<usize> {
        self.place_of(py, value, start, stop)
    }

    /// Returns how often a job is in the list.
    fn count(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.how_many(py, value)
    }

    /// Exports the jobs that have not ended yet as an Arrow stream: ``path``, ``path_bytes``, ``state``,
    /// ``priority``, ``attempt``, ``token``, ``expires``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__(
        &self,
        py: Python<'_>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        // A wish that the interface allows to be passed over.
        let _ = requested_schema;
        group::refuse(py)?;
        // A job is in one list only, so these locks are taken in one order everywhere.
        let table = py.detach(|| {
            let held: Vec<_> = self.jobs.iter().map(|job| job.get().lock()).collect();
            treewarden::arrow::jobs(held.iter().filter_map(|held| (**held).as_ref()))
        });
        arrow::capsule(py, table)
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.JobList of {}>", self.jobs.len())
    }

    fn _repr_html_(&self) -> String {
        let row = |job: &Py<Job>| {
            let job = job.get();
            let (state, priority, attempt) = (job.state(), job.priority(), job.attempt());
            vec![job.shown_path(), state.to_owned(), priority.to_owned(), attempt.to_string()]
        };
        let rows: Vec<Vec<String>> = self.jobs.iter().take(html::ROWS_MAX).map(row).collect();
        let more = (self.jobs.len() - rows.len()) as u64;
        let caption = format!("{} jobs", self.jobs.len());
        html::table(&caption, &["path", "state", "priority", "attempt"], &rows, more)
    }
}

/// Items of a pipeline in a list, with indices and slices. It is a table, too: ``polars.DataFrame(items)``.
#[pyclass(frozen, module = "treewarden")]
pub(crate) struct ItemList {
    items: Vec<WorkItem>,
}

impl ItemList {
    pub(super) fn of(items: Vec<WorkItem>) -> Self {
        Self { items }
    }
}

impl Items for ItemList {
    fn places(&self) -> usize {
        self.items.len()
    }

    fn item(&self, py: Python<'_>, place: usize) -> PyResult<Py<PyAny>> {
        event_types::work_item(py, self.items.get(place).ok_or_else(out_of_range)?)
    }
}

#[pymethods]
impl ItemList {
    fn __len__(&self) -> usize {
        self.places()
    }

    fn __getitem__(&self, py: Python<'_>, index: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.picked(py, index)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> ItemIter {
        ItemIter::over(slf.as_any())
    }

    fn __reversed__(slf: &Bound<'_, Self>) -> ItemIter {
        ItemIter::back_over(slf.as_any())
    }

    /// Returns the place of the first item that equals ``value``. ``ValueError`` where there is none.
    #[pyo3(signature = (value, start=0, stop=None))]
    fn index(
        &self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        start: isize,
        stop: Option<isize>,
    ) -> PyResult<usize> {
        self.place_of(py, value, start, stop)
    }

    /// Returns how many items equal ``value``.
    fn count(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.how_many(py, value)
    }

    /// Exports the items as an Arrow stream: ``path``, ``path_bytes``, ``state``, ``dead``.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__(
        &self,
        py: Python<'_>,
        requested_schema: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        // A wish that the interface allows to be passed over.
        let _ = requested_schema;
        arrow::capsule(py, treewarden::arrow::items(self.items.clone()))
    }

    fn __repr__(&self) -> String {
        format!("<treewarden.ItemList of {}>", self.items.len())
    }

    fn _repr_html_(&self) -> String {
        let row = |item: &WorkItem| {
            let dead = if item.dead { "yes" } else { "no" };
            vec![escape(&item.path), item.state.name().to_owned(), dead.to_owned()]
        };
        let rows: Vec<Vec<String>> = self.items.iter().take(html::ROWS_MAX).map(row).collect();
        let more = (self.items.len() - rows.len()) as u64;
        let caption = format!("{} items", self.items.len());
        html::table(&caption, &["path", "state", "dead"], &rows, more)
    }
}
