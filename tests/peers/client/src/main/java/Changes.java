import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.server.exceptions.InvalidRequestException;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceGoneException;
import ca.uhn.fhir.rest.server.exceptions.ResourceNotFoundException;
import ca.uhn.fhir.rest.server.exceptions.UnprocessableEntityException;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CodeType;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Parameters;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Resource;
import org.hl7.fhir.r4.model.StringType;
import org.hl7.fhir.r4.model.Type;

/** Histories, patches and writes named by a search. */
class Changes {
	static void add(Map<String, Client.Scenario> all) {
		all.put("history of an instance", Changes::instance);
		all.put("history of a type", Changes::type);
		all.put("history of the system", Changes::system);
		all.put("JSON Patch", Changes::jsonPatch);
		all.put("FHIRPath Patch", Changes::fhirPatch);
		all.put("conditional create", Changes::create);
		all.put("conditional update", Changes::update);
		all.put("conditional delete", Changes::delete);
		all.put("conditional patch", Changes::patch);
	}

	static Patient lived(Corner corner) {
		Patient made = corner.made(corner.patient("First"));
		made.getNameFirstRep().setFamily("Second");
		corner.client.update().resource(made).execute();
		corner.client.delete().resourceById(made.getIdElement().toUnqualifiedVersionless()).execute();
		return made;
	}

	static void instance(Corner corner) {
		IdType id = lived(corner).getIdElement().toUnqualifiedVersionless();
		Bundle history = corner.client.history().onInstance(id).returnBundle(Bundle.class).execute();
		Client.same("[DELETE, PUT, POST]", methods(history));
		Client.same(3, history.getTotal());
		Client.same(null, history.getEntryFirstRep().getResource());
		Bundle page = corner.client.history().onInstance(id).returnBundle(Bundle.class).count(1).execute();
		Client.same("[DELETE]", methods(page));
		Bundle next = corner.client.loadPage().next(page).execute();
		Client.same("[PUT]", methods(next));
		java.util.Date second = next.getEntryFirstRep().getResource().getMeta().getLastUpdated();
		Bundle since = corner.client.history().onInstance(id).returnBundle(Bundle.class).since(second).execute();
		Client.yes(methods(since).startsWith("[DELETE, PUT"), methods(since));
	}

	private static String methods(Bundle history) {
		return history.getEntry().stream().map(one -> one.getRequest().getMethod().toCode()).collect(Collectors.toList()).toString();
	}

	static void type(Corner corner) {
		String id = lived(corner).getIdElement().getIdPart();
		Bundle history = corner.client.history().onType(Patient.class).returnBundle(Bundle.class).count(200).execute();
		Client.same(3, history.getEntry().stream().filter(one -> one.getFullUrl().endsWith("/" + id)).count());
	}

	static void system(Corner corner) {
		String id = lived(corner).getIdElement().getIdPart();
		Bundle history = corner.client.history().onServer().returnBundle(Bundle.class).count(200).execute();
		Client.same(3, history.getEntry().stream().filter(one -> one.getFullUrl().endsWith("Patient/" + id)).count());
	}

	static final String SECOND = "[{\"op\":\"test\",\"path\":\"/name/0/family\",\"value\":\"First\"},{\"op\":\"replace\",\"path\":\"/name/0/family\",\"value\":\"Second\"}]";

	static void jsonPatch(Corner corner) {
		Patient made = corner.made(corner.patient("First"));
		IdType id = made.getIdElement().toUnqualifiedVersionless();
		MethodOutcome outcome = corner.client.patch().withBody(SECOND).withId(id).execute();
		Client.same("2", outcome.getId().getVersionIdPart());
		Client.same("Second", ((Patient) outcome.getResource()).getNameFirstRep().getFamily());
		Client.refused(UnprocessableEntityException.class, () -> corner.client.patch().withBody(SECOND).withId(id).execute());
		Client.refused(InvalidRequestException.class, () -> corner.client.patch().withBody("[{\"op\":\"sing\"}]").withId(id).execute());
	}

	static Parameters operation(String type, String path, String name, Type value) {
		Parameters patch = new Parameters();
		Parameters.ParametersParameterComponent one = patch.addParameter().setName("operation");
		one.addPart().setName("type").setValue(new CodeType(type));
		one.addPart().setName("path").setValue(new StringType(path));
		if (!name.isEmpty()) {
			one.addPart().setName("name").setValue(new StringType(name));
		}
		if (value != null) {
			one.addPart().setName("value").setValue(value);
		}
		return patch;
	}

	static void fhirPatch(Corner corner) {
		Patient made = corner.made(corner.patient("First"));
		IdType id = made.getIdElement().toUnqualifiedVersionless();
		Parameters replace = operation("replace", "Patient.name.first().family", "", new StringType("Second"));
		replace.getParameter().addAll(operation("add", "Patient", "birthDate", new org.hl7.fhir.r4.model.DateType("1950-03-04")).getParameter());
		replace.getParameter().addAll(operation("delete", "Patient.identifier", "", null).getParameter());
		MethodOutcome outcome = corner.client.patch().withFhirPatch(replace).withId(id).execute();
		Patient after = (Patient) outcome.getResource();
		Client.same("Second 1950-03-04 0", after.getNameFirstRep().getFamily() + " " + after.getBirthDateElement().getValueAsString() + " " + after.getIdentifier().size());
	}

	static String query(Corner corner) {
		return "Patient?identifier=" + Corner.SYSTEM + "|" + corner.name;
	}

	static void create(Corner corner) {
		MethodOutcome first = corner.client.create().resource(corner.patient("One")).conditionalByUrl(query(corner)).execute();
		Client.same(true, first.getCreated());
		MethodOutcome second = corner.client.create().resource(corner.patient("Two")).conditional().where(Patient.IDENTIFIER.exactly().systemAndIdentifier(Corner.SYSTEM, corner.name)).execute();
		Client.same(first.getId().getIdPart() + " 1", second.getId().getIdPart() + " " + second.getId().getVersionIdPart());
		Client.yes(!Boolean.TRUE.equals(second.getCreated()), "nothing is created again");
		corner.made(corner.patient("Three"));
		Client.refused(PreconditionFailedException.class, () -> corner.client.create().resource(corner.patient("Four")).conditionalByUrl(query(corner)).execute());
	}

	static void update(Corner corner) {
		MethodOutcome first = corner.client.update().resource(corner.patient("One")).conditionalByUrl(query(corner)).execute();
		Client.same(true, first.getCreated());
		MethodOutcome second = corner.client.update().resource(corner.patient("Two")).conditional().where(Patient.IDENTIFIER.exactly().systemAndIdentifier(Corner.SYSTEM, corner.name)).execute();
		Client.same(first.getId().getIdPart() + " 2", second.getId().getIdPart() + " " + second.getId().getVersionIdPart());
		corner.made(corner.patient("Three"));
		Client.refused(PreconditionFailedException.class, () -> corner.client.update().resource(corner.patient("Four")).conditionalByUrl(query(corner)).execute());
	}

	static void delete(Corner corner) {
		Patient made = corner.made(corner.patient("One"));
		corner.client.delete().resourceConditionalByUrl(query(corner)).execute();
		Client.refused(ResourceGoneException.class, () -> corner.client.read().resource(Patient.class).withId(made.getIdElement().getIdPart()).execute());
		corner.client.delete().resourceConditionalByUrl(query(corner)).execute();
		corner.made(corner.patient("Two"));
		corner.made(corner.patient("Three"));
		Client.refused(PreconditionFailedException.class, () -> corner.client.delete().resourceConditionalByUrl(query(corner)).execute());
	}

	static void patch(Corner corner) {
		Client.refused(ResourceNotFoundException.class, () -> corner.client.patch().withBody(SECOND).conditionalByUrl(query(corner)).execute());
		corner.made(corner.patient("First"));
		MethodOutcome outcome = corner.client.patch().withBody(SECOND).conditionalByUrl(query(corner)).execute();
		Client.same("2", outcome.getId().getVersionIdPart());
	}
}
