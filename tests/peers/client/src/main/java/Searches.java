import ca.uhn.fhir.rest.api.SearchStyleEnum;
import ca.uhn.fhir.rest.api.SearchTotalModeEnum;
import ca.uhn.fhir.rest.api.SummaryEnum;
import ca.uhn.fhir.rest.gclient.IQuery;
import ca.uhn.fhir.rest.server.exceptions.InvalidRequestException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CarePlan;
import org.hl7.fhir.r4.model.Goal;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Provenance;
import org.hl7.fhir.r4.model.Quantity;
import org.hl7.fhir.r4.model.Reference;
import org.hl7.fhir.r4.model.Resource;
import org.hl7.fhir.r4.model.Task;

/** Everything a search can be asked by the fluent calls. */
class Searches {
	static void add(Map<String, Client.Scenario> all) {
		all.put("search", Searches::search);
		all.put("search by POST", Searches::post);
		all.put("pages to the end", Searches::pages);
		all.put("sort", Searches::sort);
		all.put("totals and counts", Searches::totals);
		all.put("elements of a search", Searches::elements);
		all.put("include", Searches::include);
		all.put("include iterate", Searches::iterate);
		all.put("revinclude", Searches::revinclude);
		all.put("chain", Searches::chain);
		all.put("_has", Searches::has);
		all.put("dates", Searches::dates);
		all.put("quantities", Searches::quantities);
		all.put("missing and not", Searches::missing);
		all.put("compartment", Searches::compartment);
		all.put("all types", Searches::allTypes);
		all.put("_lastUpdated", Searches::lastUpdated);
		all.put("unknown parameters", Searches::unknown);
	}

	static IQuery<Bundle> query(Corner corner, Class<? extends Resource> type) {
		return corner.client.search().forResource(type).withTag(Corner.SYSTEM, corner.name).returnBundle(Bundle.class);
	}

	static void search(Corner corner) {
		Patient ann = corner.made(corner.patient("O'Neil, $|\\ \u00c4"));
		corner.made(corner.patient("Other"));
		List<String> found = Corner.refs(query(corner, Patient.class).where(Patient.FAMILY.matchesExactly().value("O'Neil, $|\\ \u00c4")).execute(), "match");
		Client.same(List.of(Corner.ref(ann)), found);
		Client.same(2, query(corner, Patient.class).where(Patient.NAME.contains().value("ynthet")).execute().getEntry().size());
		Client.same(2, query(corner, Patient.class).where(Patient.IDENTIFIER.exactly().systemAndIdentifier(Corner.SYSTEM, corner.name)).execute().getEntry().size());
		Client.same(1, query(corner, Patient.class).where(Patient.FAMILY.matches().values("other", "none")).execute().getEntry().size());
		Client.same(0, query(corner, Patient.class).where(Patient.GENDER.exactly().code("male")).execute().getEntry().size());
	}

	static void post(Corner corner) {
		Patient ann = corner.made(corner.patient("Posted"));
		Bundle found = query(corner, Patient.class).where(Patient.FAMILY.matches().value("Posted")).usingStyle(SearchStyleEnum.POST).execute();
		Client.same(List.of(Corner.ref(ann)), Corner.refs(found, "match"));
	}

	static void pages(Corner corner) {
		List<String> made = new ArrayList<>();
		for (int i = 0; i < 45; i++) {
			made.add(Corner.ref(corner.made(corner.task("", Task.TaskStatus.REQUESTED))));
		}
		for (SearchStyleEnum style : new SearchStyleEnum[] {SearchStyleEnum.GET, SearchStyleEnum.POST}) {
			List<String> found = corner.walk(query(corner, Task.class).count(2).usingStyle(style).execute()).stream().map(Corner::ref).collect(Collectors.toList());
			Client.same(45, found.size());
			Client.same(new TreeSet<>(made), new TreeSet<>(found));
		}
		Bundle first = query(corner, Task.class).count(20).execute();
		Bundle second = corner.client.loadPage().next(first).execute();
		Client.same(20, second.getEntry().size());
		if (second.getLink("previous") != null) {
			Client.same(Corner.refs(first, "match"), Corner.refs(corner.client.loadPage().previous(second).execute(), "match"));
		}
	}

	static void sort(Corner corner) {
		for (String family : new String[] {"b", "c", "a"}) {
			corner.made(corner.patient(family));
		}
		Bundle up = query(corner, Patient.class).sort().ascending(Patient.FAMILY).execute();
		Client.same("[a, b, c]", families(up));
		Client.same("[c, b, a]", families(query(corner, Patient.class).sort().descending(Patient.FAMILY).execute()));
		Client.same("[b, c, a]", families(query(corner, Patient.class).sort().ascending("_lastUpdated").execute()));
	}

	private static String families(Bundle found) {
		return found.getEntry().stream().map(one -> ((Patient) one.getResource()).getNameFirstRep().getFamily()).collect(Collectors.toList()).toString();
	}

	static void totals(Corner corner) {
		for (int i = 0; i < 5; i++) {
			corner.made(corner.task("", Task.TaskStatus.REQUESTED));
		}
		Client.same(5, query(corner, Task.class).count(2).totalMode(SearchTotalModeEnum.ACCURATE).execute().getTotal());
		Bundle counted = query(corner, Task.class).summaryMode(SummaryEnum.COUNT).execute();
		Client.same(5, counted.getTotal());
		Client.same(0, counted.getEntry().size());
	}

	static void elements(Corner corner) {
		corner.made(corner.patient("Some"));
		Patient some = (Patient) query(corner, Patient.class).elementsSubset("identifier").execute().getEntryFirstRep().getResource();
		Client.same(0, some.getName().size());
		Client.same(1, some.getIdentifier().size());
		Bundle all = query(corner, Patient.class).summaryMode(SummaryEnum.TRUE).execute();
		Client.yes(((Patient) all.getEntryFirstRep().getResource()).getMeta().getTag().size() == 2, "SUBSETTED");
	}

	static void include(Corner corner) {
		Patient patient = corner.made(corner.patient("Included"));
		Task task = corner.made(corner.task(Corner.ref(patient), Task.TaskStatus.REQUESTED));
		Bundle found = query(corner, Task.class).include(Task.INCLUDE_PATIENT).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(found, "match"));
		Client.same(List.of(Corner.ref(patient)), Corner.refs(found, "include"));
		Client.same(1, found.getTotal());
		Task linked = (Task) found.getEntryFirstRep().getResource();
		Client.yes(linked.getFor().getResource() instanceof Patient, "the client links what was included");
	}

	static void iterate(Corner corner) {
		Patient patient = corner.made(corner.patient("Far"));
		Goal goal = corner.tagged(new Goal()).setLifecycleStatus(Goal.GoalLifecycleStatus.ACTIVE).setSubject(new Reference(Corner.ref(patient)));
		goal.getDescription().setText("walk");
		goal = corner.made(goal);
		CarePlan plan = corner.tagged(new CarePlan()).setStatus(CarePlan.CarePlanStatus.ACTIVE).setIntent(CarePlan.CarePlanIntent.PLAN)
				.setSubject(new Reference(Corner.ref(patient))).addGoal(new Reference(Corner.ref(goal)));
		plan = corner.made(plan);
		Task task = corner.made(corner.task("", Task.TaskStatus.REQUESTED).addBasedOn(new Reference(Corner.ref(plan))));
		Bundle found = query(corner, Task.class).include(Task.INCLUDE_BASED_ON).include(CarePlan.INCLUDE_GOAL.asRecursive()).include(Goal.INCLUDE_PATIENT.asRecursive()).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(found, "match"));
		Client.same(List.of(Corner.ref(plan), Corner.ref(goal), Corner.ref(patient)).stream().sorted().collect(Collectors.toList()), Corner.refs(found, "include"));
	}

	static void revinclude(Corner corner) {
		Patient patient = corner.made(corner.patient("Named"));
		Task task = corner.made(corner.task(Corner.ref(patient), Task.TaskStatus.REQUESTED));
		Bundle found = query(corner, Patient.class).revInclude(Task.INCLUDE_PATIENT).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(found, "include"));
		Bundle traced = query(corner, Task.class).revInclude(Provenance.INCLUDE_TARGET).execute();
		Client.yes(Corner.refs(traced, "include").stream().anyMatch(one -> one.startsWith("Provenance/")), "the write has a Provenance");
	}

	static void chain(Corner corner) {
		Patient patient = corner.made(corner.patient("Chained"));
		Task task = corner.made(corner.task(Corner.ref(patient), Task.TaskStatus.REQUESTED));
		corner.made(corner.task("", Task.TaskStatus.REQUESTED));
		Bundle found = query(corner, Task.class).where(Task.PATIENT.hasChainedProperty(Patient.IDENTIFIER.exactly().systemAndCode(Corner.SYSTEM, corner.name))).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(found, "match"));
		Bundle typed = query(corner, Task.class).where(Task.SUBJECT.hasChainedProperty("Patient", Patient.FAMILY.matches().value("chained"))).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(typed, "match"));
		Bundle direct = query(corner, Task.class).where(Task.PATIENT.hasId(patient.getIdElement().getIdPart())).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(direct, "match"));
		Bundle absolute = query(corner, Task.class).where(Task.PATIENT.hasId(corner.client.getServerBase() + "/" + Corner.ref(patient))).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(absolute, "match"));
	}

	static void has(Corner corner) {
		Patient patient = corner.made(corner.patient("Has"));
		corner.made(corner.patient("HasNot"));
		corner.made(corner.task(Corner.ref(patient), Task.TaskStatus.REQUESTED));
		Bundle found = query(corner, Patient.class).whereMap(Map.of("_has:Task:patient:status", List.of("requested"))).execute();
		Client.same(List.of(Corner.ref(patient)), Corner.refs(found, "match"));
		Bundle none = query(corner, Patient.class).whereMap(Map.of("_has:Task:patient:status", List.of("completed"))).execute();
		Client.same(0, none.getEntry().size());
	}

	static void dates(Corner corner) {
		Patient born = corner.patient("Born");
		born.setBirthDateElement(new org.hl7.fhir.r4.model.DateType("1950-03-04"));
		String ref = Corner.ref(corner.made(born));
		Client.same(List.of(ref), Corner.refs(query(corner, Patient.class).where(Patient.BIRTHDATE.exactly().day("1950-03-04")).execute(), "match"));
		Client.same(List.of(ref), Corner.refs(query(corner, Patient.class).where(Patient.BIRTHDATE.afterOrEquals().day("1950-03-04")).and(Patient.BIRTHDATE.before().day("1950-03-05")).execute(), "match"));
		Client.same(List.of(), Corner.refs(query(corner, Patient.class).where(Patient.BIRTHDATE.after().day("1950-03-04")).execute(), "match"));
		Client.same(List.of(ref), Corner.refs(query(corner, Patient.class).whereMap(Map.of("birthdate", List.of("1950"))).execute(), "match"));
		Client.same(List.of(), Corner.refs(query(corner, Patient.class).whereMap(Map.of("birthdate", List.of("ne1950-03"))).execute(), "match"));
	}

	static void quantities(Corner corner) {
		Observation one = corner.tagged(new Observation()).setStatus(Observation.ObservationStatus.FINAL);
		one.getCode().setText("synthetic");
		one.setValue(new Quantity().setValue(5.4).setSystem("http://unitsofmeasure.org").setCode("mg"));
		String ref = Corner.ref(corner.made(one));
		Client.same(List.of(ref), Corner.refs(query(corner, Observation.class).where(Observation.VALUE_QUANTITY.exactly().number("5.4").andUnits("http://unitsofmeasure.org", "mg")).execute(), "match"));
		Client.same(List.of(ref), Corner.refs(query(corner, Observation.class).where(Observation.VALUE_QUANTITY.greaterThan().number("5").andNoUnits()).execute(), "match"));
		Client.same(List.of(), Corner.refs(query(corner, Observation.class).where(Observation.VALUE_QUANTITY.lessThan().number("5").andNoUnits()).execute(), "match"));
	}

	static void missing(Corner corner) {
		Task free = corner.made(corner.task("", Task.TaskStatus.REQUESTED));
		Task owned = corner.made(corner.task("", Task.TaskStatus.ACCEPTED).setOwner(new Reference(Corner.ref(corner.made(corner.patient("Owner"))))));
		Client.same(List.of(Corner.ref(free)), Corner.refs(query(corner, Task.class).where(Task.OWNER.isMissing(true)).execute(), "match"));
		Client.same(List.of(Corner.ref(owned)), Corner.refs(query(corner, Task.class).where(Task.OWNER.isMissing(false)).execute(), "match"));
		Client.same(List.of(Corner.ref(owned)), Corner.refs(query(corner, Task.class).whereMap(Map.of("status:not", List.of("requested"))).execute(), "match"));
	}

	static void compartment(Corner corner) {
		Patient patient = corner.made(corner.patient("Inside"));
		Task task = corner.made(corner.task(Corner.ref(patient), Task.TaskStatus.REQUESTED));
		Bundle found = corner.client.search().forResource(Patient.class).withIdAndCompartment(patient.getIdElement().getIdPart(), "Task").returnBundle(Bundle.class).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(found, "match"));
		Bundle direct = (Bundle) corner.client.search().byUrl(corner.client.getServerBase() + "/" + Corner.ref(patient) + "/Task").returnBundle(Bundle.class).execute();
		Client.same(List.of(Corner.ref(task)), Corner.refs(direct, "match"));
	}

	static void allTypes(Corner corner) {
		corner.made(corner.patient("Any"));
		corner.made(corner.task("", Task.TaskStatus.REQUESTED));
		Bundle found = corner.client.search().forAllResources().withTag(Corner.SYSTEM, corner.name).returnBundle(Bundle.class).execute();
		Client.same(2, found.getEntry().size());
		Bundle some = corner.client.search().byUrl(corner.client.getServerBase() + "?_type=Task&_tag=" + Corner.SYSTEM + "|" + corner.name).returnBundle(Bundle.class).execute();
		Client.same(1, some.getEntry().size());
	}

	static void lastUpdated(Corner corner) {
		Patient made = corner.made(corner.patient("Late"));
		java.util.Date at = made.getMeta().getLastUpdated();
		Client.same(1, query(corner, Patient.class).lastUpdated(new ca.uhn.fhir.rest.param.DateRangeParam(at, null)).execute().getEntry().size());
		Client.same(0, query(corner, Patient.class).lastUpdated(new ca.uhn.fhir.rest.param.DateRangeParam(new java.util.Date(at.getTime() + 60_000), null)).execute().getEntry().size());
	}

	static void unknown(Corner corner) {
		corner.made(corner.patient("Known"));
		Bundle found = query(corner, Patient.class).whereMap(Map.of("colour", List.of("red"))).execute();
		Client.same(1, Corner.refs(found, "match").size());
		Client.yes(!found.getLink(Bundle.LINK_SELF).getUrl().contains("colour"), "self names what was used");
		Client.refused(InvalidRequestException.class, () -> query(corner, Patient.class).whereMap(Map.of("colour", List.of("red"))).withAdditionalHeader("Prefer", "handling=strict").execute());
		Client.refused(InvalidRequestException.class, () -> query(corner, Patient.class).whereMap(Map.of("family:nonsense", List.of("x"))).execute());
	}
}
