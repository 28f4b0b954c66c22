import { redisRaces } from "./children/race-tests.ts";

await redisRaces("redis");
