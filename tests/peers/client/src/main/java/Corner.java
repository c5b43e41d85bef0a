import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.stream.Collectors;
import org.hl7.fhir.instance.model.api.IBaseOperationOutcome;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.OperationOutcome;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Reference;
import org.hl7.fhir.r4.model.Resource;
import org.hl7.fhir.r4.model.Task;

/** A client and synthetic resources that only one scenario sees: each carries its tag. */
class Corner {
	static final String SYSTEM = "http://example.org/java-client";
	final FhirContext context;
	final IGenericClient client;
	final String name = UUID.randomUUID().toString();

	Corner(FhirContext context, String base) {
		this.context = context;
		this.client = context.newRestfulGenericClient(base);
		this.client.setEncoding(EncodingEnum.JSON);
	}

	<T extends Resource> T tagged(T resource) {
		resource.getMeta().addTag().setSystem(SYSTEM).setCode(name);
		return resource;
	}

	Patient patient(String family) {
		Patient one = tagged(new Patient());
		one.addName().setFamily(family).addGiven("Synthetic");
		one.addIdentifier().setSystem(SYSTEM).setValue(name);
		return one;
	}

	Task task(String patient, Task.TaskStatus status) {
		Task one = tagged(new Task()).setStatus(status).setIntent(Task.TaskIntent.ORDER);
		return patient.isEmpty() ? one : one.setFor(new Reference(patient));
	}

	/** Stores it and gives back what the server answered. */
	@SuppressWarnings("unchecked")
	<T extends Resource> T made(T resource) {
		MethodOutcome outcome = client.create().resource(resource).execute();
		Client.yes(Boolean.TRUE.equals(outcome.getCreated()), "not created: " + outcome.getId());
		return (T) outcome.getResource();
	}

	static String ref(Resource one) {
		return one.getIdElement().toUnqualifiedVersionless().getValue();
	}

	/** All matches of a search, by walking the pages to the end. */
	List<Resource> walk(Bundle first) {
		List<Resource> found = new ArrayList<>();
		int pages = 0;
		for (Bundle page = first; ; page = client.loadPage().next(page).execute()) {
			page.getEntry().forEach(one -> found.add(one.getResource()));
			Client.yes(++pages < 100, "the pages have no end");
			if (page.getLink(Bundle.LINK_NEXT) == null) {
				return found;
			}
		}
	}

	static List<String> refs(Bundle bundle, String mode) {
		return bundle.getEntry().stream()
				.filter(one -> one.getSearch().getMode() != null && one.getSearch().getMode().toCode().equals(mode))
				.map(one -> ref(one.getResource())).sorted().collect(Collectors.toList());
	}

	static String told(IBaseOperationOutcome outcome) {
		return ((OperationOutcome) outcome).getIssue().stream()
				.map(one -> one.getSeverity().toCode() + " " + one.getCode().toCode() + " " + one.getDetails().getText()
						+ one.getDiagnostics() + " " + one.getExpression())
				.collect(Collectors.joining("; "));
	}
}
