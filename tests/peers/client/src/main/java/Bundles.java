import ca.uhn.fhir.rest.server.exceptions.BaseServerResponseException;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CarePlan;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Reference;
import org.hl7.fhir.r4.model.Task;

/** Transactions and batches. */
class Bundles {
	static void add(Map<String, Client.Scenario> all) {
		all.put("transaction", Bundles::transaction);
		all.put("transaction of everything", Bundles::everything);
		all.put("transaction with conditions", Bundles::conditions);
		all.put("transaction refused", Bundles::refused);
		all.put("batch", Bundles::batch);
	}

	static Bundle of(Bundle.BundleType type) {
		Bundle bundle = new Bundle();
		bundle.setType(type);
		return bundle;
	}

	static Bundle.BundleEntryComponent entry(Bundle bundle, Bundle.HTTPVerb verb, String url) {
		Bundle.BundleEntryComponent one = bundle.addEntry();
		one.getRequest().setMethod(verb).setUrl(url);
		return one;
	}

	static IdType location(Bundle answer, int index) {
		return new IdType(answer.getEntry().get(index).getResponse().getLocation());
	}

	static void transaction(Corner corner) {
		String patient = "urn:uuid:" + java.util.UUID.randomUUID();
		String plan = "urn:uuid:" + java.util.UUID.randomUUID();
		String task = "urn:uuid:" + java.util.UUID.randomUUID();
		Bundle sent = of(Bundle.BundleType.TRANSACTION);
		entry(sent, Bundle.HTTPVerb.POST, "Task").setFullUrl(task).setResource(corner.task(patient, Task.TaskStatus.REQUESTED).addBasedOn(new Reference(plan)));
		CarePlan care = corner.tagged(new CarePlan()).setStatus(CarePlan.CarePlanStatus.ACTIVE).setIntent(CarePlan.CarePlanIntent.PLAN).setSubject(new Reference(patient));
		care.addActivity().setReference(new Reference(task));
		entry(sent, Bundle.HTTPVerb.POST, "CarePlan").setFullUrl(plan).setResource(care);
		entry(sent, Bundle.HTTPVerb.POST, "Patient").setFullUrl(patient).setResource(corner.patient("Together"));
		Bundle answer = corner.client.transaction().withBundle(sent).execute();
		Client.same("transaction-response", answer.getType().toCode());
		Client.same("[201 Created, 201 Created, 201 Created]", answer.getEntry().stream().map(one -> one.getResponse().getStatus()).collect(Collectors.toList()));
		Task stored = corner.client.read().resource(Task.class).withId(location(answer, 0).getIdPart()).execute();
		Client.same(location(answer, 2).toUnqualifiedVersionless().getValue(), stored.getFor().getReference());
		Client.same(location(answer, 1).toUnqualifiedVersionless().getValue(), stored.getBasedOnFirstRep().getReference());
		CarePlan read = corner.client.read().resource(CarePlan.class).withId(location(answer, 1).getIdPart()).execute();
		Client.same(location(answer, 0).toUnqualifiedVersionless().getValue(), read.getActivityFirstRep().getReference().getReference());
	}

	static void everything(Corner corner) {
		Patient changed = corner.made(corner.patient("Changed"));
		Patient gone = corner.made(corner.patient("Gone"));
		Bundle sent = of(Bundle.BundleType.TRANSACTION);
		entry(sent, Bundle.HTTPVerb.GET, "Patient?family=after&_tag=" + Corner.SYSTEM + "|" + corner.name);
		changed.getNameFirstRep().setFamily("After");
		entry(sent, Bundle.HTTPVerb.PUT, Corner.ref(changed)).setResource(changed).getRequest().setIfMatch("W/\"1\"");
		entry(sent, Bundle.HTTPVerb.POST, "Task").setResource(corner.task(Corner.ref(changed), Task.TaskStatus.REQUESTED));
		entry(sent, Bundle.HTTPVerb.DELETE, Corner.ref(gone));
		Bundle answer = corner.client.transaction().withBundle(sent).execute();
		Client.same("[200, 200, 201, 204]", answer.getEntry().stream().map(one -> one.getResponse().getStatus().substring(0, 3)).collect(Collectors.toList()));
		Client.same(List.of(Corner.ref(changed)), Corner.refs((Bundle) answer.getEntryFirstRep().getResource(), "match"));
		Client.same("W/\"2\"", answer.getEntry().get(1).getResponse().getEtag());
		Client.yes(answer.getEntry().get(2).getResponse().getLastModified() != null, "lastModified");
	}

	static void conditions(Corner corner) {
		Patient known = corner.made(corner.patient("Known"));
		String query = "identifier=" + Corner.SYSTEM + "|" + corner.name;
		Bundle sent = of(Bundle.BundleType.TRANSACTION);
		entry(sent, Bundle.HTTPVerb.POST, "Patient").setFullUrl("urn:uuid:" + java.util.UUID.randomUUID()).setResource(corner.patient("Again")).getRequest().setIfNoneExist(query);
		entry(sent, Bundle.HTTPVerb.POST, "Task").setResource(corner.task("Patient?" + query, Task.TaskStatus.REQUESTED));
		Bundle answer = corner.client.transaction().withBundle(sent).execute();
		Client.same("200", answer.getEntryFirstRep().getResponse().getStatus().substring(0, 3));
		Client.same(known.getIdElement().getIdPart(), location(answer, 0).getIdPart());
		Task stored = corner.client.read().resource(Task.class).withId(location(answer, 1).getIdPart()).execute();
		Client.same(Corner.ref(known), stored.getFor().getReference());
	}

	static void refused(Corner corner) {
		Patient made = corner.made(corner.patient("Stays"));
		Bundle sent = of(Bundle.BundleType.TRANSACTION);
		entry(sent, Bundle.HTTPVerb.POST, "Patient").setResource(corner.patient("Never"));
		made.getNameFirstRep().setFamily("Changed");
		entry(sent, Bundle.HTTPVerb.PUT, Corner.ref(made)).setResource(made).getRequest().setIfMatch("W/\"9\"");
		BaseServerResponseException told = Client.refused(PreconditionFailedException.class, () -> corner.client.transaction().withBundle(sent).execute());
		Client.yes(told.getOperationOutcome() != null, "an outcome");
		Client.same(1, Searches.query(corner, Patient.class).execute().getTotal());
		Client.same("1", corner.client.read().resource(Patient.class).withId(made.getIdElement().getIdPart()).execute().getMeta().getVersionId());
	}

	static void batch(Corner corner) {
		Patient made = corner.made(corner.patient("There"));
		Bundle sent = of(Bundle.BundleType.BATCH);
		entry(sent, Bundle.HTTPVerb.GET, Corner.ref(made));
		entry(sent, Bundle.HTTPVerb.GET, "Patient/none-such");
		entry(sent, Bundle.HTTPVerb.POST, "Task").setResource(new Task());
		entry(sent, Bundle.HTTPVerb.POST, "Task").setResource(corner.task("", Task.TaskStatus.REQUESTED));
		Bundle answer = corner.client.transaction().withBundle(sent).execute();
		Client.same("batch-response", answer.getType().toCode());
		Client.same("[200, 404, 400, 201]", answer.getEntry().stream().map(one -> one.getResponse().getStatus().substring(0, 3)).collect(Collectors.toList()));
		Client.yes(answer.getEntry().get(0).getResource() instanceof Patient, "what was read");
		Client.yes(answer.getEntry().get(1).getResponse().getOutcome() != null, "why it failed");
	}
}
