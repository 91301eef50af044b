// What plans and packs give and cost.
import { api, type Schemas, settle } from "./api";
import { type Resource, useResource } from "./resource";
import { project } from "./session";

export type Offers = Schemas["Offers"];

export const useOffers = (): Resource<Offers> =>
  useResource(project.value, (signal) => settle(api.GET("/api/v1/billing/offers", { params: { query: { project: project.value } }, signal })));
