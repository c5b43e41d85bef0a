import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.PreferReturnEnum;
import ca.uhn.fhir.rest.api.SummaryEnum;
import ca.uhn.fhir.rest.client.apache.GZipContentInterceptor;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.server.exceptions.InvalidRequestException;
import ca.uhn.fhir.rest.server.exceptions.MethodNotAllowedException;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceGoneException;
import ca.uhn.fhir.rest.server.exceptions.ResourceNotFoundException;
import java.math.BigDecimal;
import java.util.Map;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CapabilityStatement;
import org.hl7.fhir.r4.model.CarePlan;
import org.hl7.fhir.r4.model.Enumerations;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.OperationOutcome;
import org.hl7.fhir.r4.model.Parameters;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.PlanDefinition;
import org.hl7.fhir.r4.model.Provenance;
import org.hl7.fhir.r4.model.Quantity;
import org.hl7.fhir.r4.model.StringType;
import org.hl7.fhir.r4.model.Task;

/** The statement, the life of one resource, formats and operations. */
class Basics {
	static void add(Map<String, Client.Scenario> all) {
		all.put("capabilities", Basics::capabilities);
		all.put("create", Basics::create);
		all.put("prefer", Basics::prefer);
		all.put("read", Basics::read);
		all.put("read if changed", Basics::readIfChanged);
		all.put("vread", Basics::vread);
		all.put("update", Basics::update);
		all.put("update with If-Match", Basics::ifMatch);
		all.put("update as create", Basics::updateAsCreate);
		all.put("delete", Basics::delete);
		all.put("texts are kept", Basics::texts);
		all.put("client defaults", Basics::defaults);
		all.put("gzip", Basics::gzip);
		all.put("refusals", Basics::refusals);
		all.put("validate", Basics::validate);
		all.put("operations", Basics::operations);
		all.put("$apply", Basics::apply);
		all.put("$instantiate", Basics::instantiate);
		all.put("summary and elements of a read", Basics::summary);
	}

	static void capabilities(Corner corner) {
		corner.client.forceConformanceCheck();
		CapabilityStatement said = corner.client.capabilities().ofType(CapabilityStatement.class).execute();
		Client.same("4.0.1", said.getFhirVersion().toCode());
		Client.same(146, said.getRestFirstRep().getResource().size());
	}

	static void create(Corner corner) {
		Patient sent = corner.patient("Create");
		sent.setId("chosen-by-the-client");
		MethodOutcome outcome = corner.client.create().resource(sent).execute();
		Client.same(true, outcome.getCreated());
		Client.same("1", outcome.getId().getVersionIdPart());
		Client.yes(outcome.getId().isAbsolute(), "Location is absolute: " + outcome.getId());
		Client.yes(!outcome.getId().getIdPart().equals("chosen-by-the-client"), "the server chooses the id");
		Client.same("Create", ((Patient) outcome.getResource()).getNameFirstRep().getFamily());
		Client.yes(outcome.getResource().getMeta().getLastUpdated() != null, "lastUpdated");
	}

	static void prefer(Corner corner) {
		MethodOutcome none = corner.client.create().resource(corner.patient("A")).prefer(PreferReturnEnum.MINIMAL).execute();
		Client.same(null, none.getResource());
		Client.same("1", none.getId().getVersionIdPart());
		MethodOutcome said = corner.client.create().resource(corner.patient("B")).prefer(PreferReturnEnum.OPERATION_OUTCOME).execute();
		Client.yes(said.getOperationOutcome() instanceof OperationOutcome, "an OperationOutcome");
		Patient made = corner.made(corner.patient("C")).setActive(true);
		Client.same(null, corner.client.update().resource(made).prefer(PreferReturnEnum.MINIMAL).execute().getResource());
	}

	static void read(Corner corner) {
		Patient made = corner.made(corner.patient("Read"));
		String id = made.getIdElement().getIdPart();
		Patient read = corner.client.read().resource(Patient.class).withId(id).execute();
		Client.same("Read", read.getNameFirstRep().getFamily());
		Client.same("1", read.getIdElement().getVersionIdPart());
		Client.same("Read", corner.client.read().resource(Patient.class)
				.withUrl(corner.client.getServerBase() + "/Patient/" + id).execute().getNameFirstRep().getFamily());
		Client.refused(ResourceNotFoundException.class,
				() -> corner.client.read().resource(Patient.class).withId("none-such").execute());
	}

	static void readIfChanged(Corner corner) {
		Patient made = corner.made(corner.patient("Same"));
		Client.same(null, corner.client.read().resource(Patient.class).withId(made.getIdElement().getIdPart())
				.ifVersionMatches("1").returnNull().execute());
		Client.yes(corner.client.read().resource(Patient.class).withId(made.getIdElement().getIdPart())
				.ifVersionMatches("7").returnNull().execute() != null, "another version is read");
	}

	static void vread(Corner corner) {
		Patient made = corner.made(corner.patient("First"));
		made.getNameFirstRep().setFamily("Second");
		corner.client.update().resource(made).execute();
		String id = made.getIdElement().getIdPart();
		Client.same("First", corner.client.read().resource(Patient.class).withIdAndVersion(id, "1").execute().getNameFirstRep().getFamily());
		Client.same("Second", corner.client.read().resource(Patient.class).withIdAndVersion(id, "2").execute().getNameFirstRep().getFamily());
		Client.refused(ResourceNotFoundException.class,
				() -> corner.client.read().resource(Patient.class).withIdAndVersion(id, "3").execute());
	}

	static void update(Corner corner) {
		Patient made = corner.made(corner.patient("Before"));
		made.getNameFirstRep().setFamily("After");
		MethodOutcome outcome = corner.client.update().resource(made).execute();
		Client.same("2", outcome.getId().getVersionIdPart());
		Patient after = (Patient) outcome.getResource();
		Client.same("After", after.getNameFirstRep().getFamily());
		Client.yes(after.getMeta().getLastUpdated().after(made.getMeta().getLastUpdated()), "lastUpdated grows");
	}

	static void ifMatch(Corner corner) {
		Task made = corner.made(corner.task("", Task.TaskStatus.REQUESTED));
		made.setDescription("two");
		MethodOutcome won = corner.client.update().resource(made).withAdditionalHeader("If-Match", "W/\"1\"").execute();
		Client.same("2", won.getId().getVersionIdPart());
		made.setDescription("three");
		Client.refused(PreconditionFailedException.class,
				() -> corner.client.update().resource(made).withAdditionalHeader("If-Match", "W/\"1\"").execute());
		Client.same("3", corner.client.update().resource(made).withAdditionalHeader("If-Match", "\"2\"").execute().getId().getVersionIdPart());
	}

	static void updateAsCreate(Corner corner) {
		Patient sent = corner.patient("Chosen");
		sent.setId("java-" + corner.name.substring(0, 20));
		MethodOutcome outcome = corner.client.update().resource(sent).execute();
		Client.same(true, outcome.getCreated());
		Client.same(sent.getIdElement().getIdPart(), outcome.getId().getIdPart());
	}

	static void delete(Corner corner) {
		Patient made = corner.made(corner.patient("Gone"));
		IdType id = made.getIdElement().toUnqualifiedVersionless();
		corner.client.delete().resourceById(id).execute();
		corner.client.delete().resourceById(id).execute();
		Client.refused(ResourceGoneException.class, () -> corner.client.read().resource(Patient.class).withId(id).execute());
		made.getNameFirstRep().setFamily("Back");
		made.setId(id);
		Client.same("3", corner.client.update().resource(made).execute().getId().getVersionIdPart());
	}

	static void texts(Corner corner) {
		Observation sent = corner.tagged(new Observation());
		sent.setStatus(Observation.ObservationStatus.FINAL).getCode().setText("synthetic");
		sent.setValue(new Quantity().setValue(new BigDecimal("1.500")).setUnit("mg"));
		sent.addExtension("http://example.org/own", new StringType("kept: \u00e4\u20ac\ud83d\ude00 <&>"));
		sent.addContained(new Patient().setId("#inside"));
		sent.getSubject().setReference("#inside");
		Observation made = corner.made(sent);
		Observation read = corner.client.read().resource(Observation.class).withId(made.getIdElement().getIdPart()).execute();
		Client.same("1.500", read.getValueQuantity().getValue().toPlainString());
		Client.same("kept: \u00e4\u20ac\ud83d\ude00 <&>", read.getExtensionString("http://example.org/own"));
		Client.same(1, read.getContained().size());
	}

	static void defaults(Corner corner) {
		IGenericClient plain = corner.context.newRestfulGenericClient(corner.client.getServerBase());
		MethodOutcome outcome = plain.create().resource(corner.patient("Default")).execute();
		Patient read = plain.read().resource(Patient.class).withId(outcome.getId().getIdPart()).execute();
		Client.same("Default", read.getNameFirstRep().getFamily());
		read.setActive(true);
		Client.same("2", plain.update().resource(read).execute().getId().getVersionIdPart());
	}

	static void gzip(Corner corner) {
		IGenericClient packing = corner.context.newRestfulGenericClient(corner.client.getServerBase());
		packing.setEncoding(ca.uhn.fhir.rest.api.EncodingEnum.JSON);
		packing.registerInterceptor(new GZipContentInterceptor());
		Patient sent = corner.patient("Packed");
		sent.addName().setText("long ".repeat(2000));
		MethodOutcome outcome = packing.create().resource(sent).execute();
		Client.same(true, outcome.getCreated());
		Patient read = packing.read().resource(Patient.class).withId(outcome.getId().getIdPart()).execute();
		Client.same(2, read.getName().size());
	}

	static void refusals(Corner corner) {
		InvalidRequestException bad = Client.refused(InvalidRequestException.class,
				() -> corner.client.create().resource(new Task()).execute());
		Client.yes(Corner.told(bad.getOperationOutcome()).contains("status"), Corner.told(bad.getOperationOutcome()));
		MethodNotAllowedException never = Client.refused(MethodNotAllowedException.class,
				() -> corner.client.create().resource(new Provenance()).execute());
		Client.yes(never.getOperationOutcome() != null, "an outcome");
		InvalidRequestException search = Client.refused(InvalidRequestException.class,
				() -> corner.client.search().byUrl("Patient?birthdate=nonsense").execute());
		Client.yes(search.getOperationOutcome() != null, "an outcome");
	}

	static void validate(Corner corner) {
		MethodOutcome good = corner.client.validate().resource(corner.task("", Task.TaskStatus.REQUESTED)).execute();
		Client.yes(!Corner.told(good.getOperationOutcome()).contains("error "), Corner.told(good.getOperationOutcome()));
		String said;
		try {
			said = Corner.told(corner.client.validate().resource(new Task().setDescription("no status")).execute().getOperationOutcome());
		} catch (PreconditionFailedException | InvalidRequestException refused) {
			throw new AssertionError("what $validate finds is an answer of 200, got " + refused);
		}
		Client.yes(said.contains("error ") && said.contains("Task"), said);
	}

	static void operations(Corner corner) {
		Patient made = corner.made(corner.patient("Operation"));
		IdType id = made.getIdElement().toUnqualifiedVersionless();
		OperationOutcome stored = corner.client.operation().onInstance(id).named("$validate")
				.withNoParameters(Parameters.class).useHttpGet().returnResourceType(OperationOutcome.class).execute();
		Client.yes(!Corner.told(stored).contains("error "), Corner.told(stored));
		OperationOutcome sent = corner.client.operation().onType(Patient.class).named("$validate")
				.withParameter(Parameters.class, "resource", corner.patient("Other"))
				.andParameter("mode", new org.hl7.fhir.r4.model.CodeType("create"))
				.returnResourceType(OperationOutcome.class).execute();
		Client.yes(!Corner.told(sent).contains("error "), Corner.told(sent));
		Client.refused(ResourceNotFoundException.class, () -> corner.client.operation().onInstance(id).named("$nonsense")
				.withNoParameters(Parameters.class).execute());
	}

	static PlanDefinition plan(Corner corner) {
		PlanDefinition one = corner.tagged(new PlanDefinition());
		one.setUrl("http://example.org/PlanDefinition/" + corner.name).setVersion("1").setStatus(Enumerations.PublicationStatus.ACTIVE);
		one.setTitle("Synthetic plan").addAction().setTitle("Call").setDescription("Call the patient");
		return corner.made(one);
	}

	static Parameters with(String... pairs) {
		Parameters given = new Parameters();
		for (int i = 0; i < pairs.length; i += 2) {
			given.addParameter(pairs[i], new StringType(pairs[i + 1]));
		}
		return given;
	}

	static void apply(Corner corner) {
		IdType id = plan(corner).getIdElement().toUnqualifiedVersionless();
		String patient = Corner.ref(corner.made(corner.patient("Applied")));
		CarePlan made = corner.client.operation().onInstance(id).named("$apply").withParameters(with("subject", patient)).returnResourceType(CarePlan.class).execute();
		Client.same(patient, made.getSubject().getReference());
		Client.yes(made.getInstantiatesCanonical().get(0).getValue().endsWith(corner.name + "|1"), "the version it came from");
		Client.same(0, corner.client.search().forResource(CarePlan.class).where(CarePlan.PATIENT.hasId(patient)).returnBundle(Bundle.class).execute().getTotal());
		Client.refused(InvalidRequestException.class, () -> corner.client.operation().onInstance(id).named("$apply").withNoParameters(Parameters.class).execute());
	}

	static void instantiate(Corner corner) {
		IdType id = plan(corner).getIdElement().toUnqualifiedVersionless();
		String patient = Corner.ref(corner.made(corner.patient("Instantiated")));
		Parameters given = with("subject", patient, "key", corner.name);
		CarePlan first = corner.client.operation().onInstance(id).named("$instantiate").withParameters(given).returnResourceType(CarePlan.class).execute();
		CarePlan again = corner.client.operation().onInstance(id).named("$instantiate").withParameters(given).returnResourceType(CarePlan.class).execute();
		Client.same(first.getIdElement().getIdPart(), again.getIdElement().getIdPart());
		Bundle tasks = corner.client.search().forResource(Task.class).where(Task.BASED_ON.hasId(Corner.ref(first))).returnBundle(Bundle.class).execute();
		Client.same(1, tasks.getEntry().size());
	}

	static void summary(Corner corner) {
		Patient made = corner.made(corner.patient("Short"));
		String id = made.getIdElement().getIdPart();
		Patient some = corner.client.read().resource(Patient.class).withId(id).elementsSubset("name").execute();
		Client.same(0, some.getIdentifier().size());
		Client.same("Short", some.getNameFirstRep().getFamily());
		Patient text = corner.client.read().resource(Patient.class).withId(id).summaryMode(SummaryEnum.TEXT).execute();
		Client.same(0, text.getName().size());
		Client.yes(text.getMeta().getTag().stream().anyMatch(tag -> tag.getCode().equals("SUBSETTED")), "SUBSETTED");
	}
}
