"""What can be made again from the resources: read models are emptied here before `fhir-tracker rebuild` fills them."""

from __future__ import annotations

from sqlalchemy import delete

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.work_tables import event, patient_summary, work_item

READ_MODELS = (work_item, event, patient_summary)


def clear_read_models(tx: Tx) -> None:
    """Empty work items, events and patient summaries.

    Transitions, firings, enrolments, notifications and audit rows are records, not read models: they stay.
    """
    for table in READ_MODELS:
        tx.execute(delete(table))
