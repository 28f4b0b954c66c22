import { postgresRaces } from "./children/race-tests.ts";

await postgresRaces("postgres");
