//! The model: rows in maps, and every rule written again as simply as possible.

use super::item::{ModelHead, ModelResource, gathered, head_of, is_valid, merged};
use super::verb::{Creation, MatchChoice, PackageChange, site_name, template_name};
use std::collections::{BTreeMap, BTreeSet};
use tko_core::ErrorKind::{self, BadArgument, NotFound};

/// Metadata.
pub(super) type Words = BTreeMap<String, String>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModelTemplate {
    pub(super) items: Vec<ModelResource>,
    pub(super) given: Words,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModelSite {
    pub(super) template: Option<String>,
    pub(super) inherited: Words,
    pub(super) items: Vec<ModelResource>,
    pub(super) given: Words,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ModelDeployment {
    pub(super) parent: Option<String>,
    pub(super) template: Option<String>,
    pub(super) site: Option<String>,
    pub(super) inherited: Words,
    pub(super) items: Vec<ModelResource>,
    pub(super) given: Words,
    pub(super) once: Option<u8>,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) templates: BTreeMap<String, ModelTemplate>,
    pub(super) sites: BTreeMap<String, ModelSite>,
    pub(super) deployments: BTreeMap<String, ModelDeployment>,
    /// Deployments to prepare and sites to schedule since the sets were last emptied.
    pub(super) unprepared: BTreeSet<String>,
    pub(super) unscheduled: BTreeSet<String>,
    /// Sites that may be due without a change, because of skipped creations.
    pub(super) perhaps: BTreeSet<String>,
}

/// Overlays metadata, weakest first.
fn overlaid(layers: [&Words; 3]) -> Words {
    let all = layers.into_iter().flatten();
    all.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

pub(super) fn given(word: Option<u8>) -> Words {
    let pair = word.map(|word| ("given".to_owned(), word.to_string()));
    pair.into_iter().collect()
}

impl ModelTemplate {
    pub(super) fn metadata(&self) -> Words {
        overlaid([&Words::new(), &gathered(&self.items), &self.given])
    }
}

impl ModelSite {
    pub(super) fn metadata(&self) -> Words {
        overlaid([&self.inherited, &gathered(&self.items), &self.given])
    }
}

impl ModelDeployment {
    pub(super) fn metadata(&self) -> Words {
        overlaid([&self.inherited, &gathered(&self.items), &self.given])
    }

    pub(super) fn head(&self) -> &ModelHead {
        head_of(&self.items).expect("each has one")
    }

    /// The site on which the deployment must run now.
    fn wanted_on(&self) -> Option<&String> {
        let head = self.head();
        self.site
            .as_ref()
            .filter(|_| head.prepared && head.approved)
    }
}

impl Model {
    pub(super) fn register_template(
        &mut self,
        id: u8,
        items: &[ModelResource],
        word: Option<u8>,
    ) -> Result<(), ErrorKind> {
        if !is_valid(items, false) {
            return Err(BadArgument);
        }
        let new = ModelTemplate {
            items: items.to_vec(),
            given: given(word),
        };
        self.templates.insert(template_name(id), new);
        Ok(())
    }

    pub(super) fn register_site(
        &mut self,
        id: u8,
        template: Option<u8>,
        items: &[ModelResource],
        word: Option<u8>,
    ) -> Result<(), ErrorKind> {
        let template = template.map(template_name);
        let (base, inherited) = self.made_from(template.as_ref())?;
        let new = ModelSite {
            template,
            inherited,
            items: merged(&base, items),
            given: given(word),
        };
        if !is_valid(&new.items, true) {
            return Err(BadArgument);
        }
        let old = self.sites.insert(site_name(id), new.clone());
        let same = |old: ModelSite| old.items == new.items && old.metadata() == new.metadata();
        if !old.is_some_and(same) {
            self.unscheduled.insert(site_name(id));
        }
        Ok(())
    }

    fn made_from(
        &self,
        template: Option<&String>,
    ) -> Result<(Vec<ModelResource>, Words), ErrorKind> {
        let Some(id) = template else {
            return Ok((Vec::new(), Words::new()));
        };
        let template = self.templates.get(id).ok_or(BadArgument)?;
        Ok((template.items.clone(), template.metadata()))
    }

    /// Creates a deployment. Returns its id, or that of the holder of the idempotency key.
    pub(super) fn create(
        &mut self,
        id: &str,
        parent: Option<String>,
        new: &Creation,
    ) -> Result<String, ErrorKind> {
        let template = new.template.map(template_name);
        let (base, inherited) = self.made_from(template.as_ref())?;
        let mut items = merged(&base, &new.items);
        if head_of(&items).is_none() {
            items.push(ModelResource::Head(ModelHead::default()));
        }
        for item in &mut items {
            if let ModelResource::Head(head) = item {
                head.template = template.clone().or(head.template.take());
                head.site = new.site.map(site_name).or(head.site.take());
                head.prepared |= new.prepared;
                head.approved |= new.approved;
            }
        }
        let made = ModelDeployment {
            parent,
            template: head_of(&items).and_then(|head| head.template.clone()),
            site: head_of(&items).and_then(|head| head.site.clone()),
            inherited,
            items,
            given: given(new.given),
            once: new.once,
        };
        let head = made.head();
        let sound = (head.prepared || !head.approved)
            && is_valid(&made.items, head.prepared)
            && self.is_template(made.template.as_ref())
            && self.is_site(made.site.as_ref())
            && made
                .parent
                .as_ref()
                .is_none_or(|p| self.deployments.contains_key(p));
        if !sound {
            return Err(BadArgument);
        }
        let mut living = self.deployments.iter();
        let holder = living.find(|(_, other)| made.once.is_some() && other.once == made.once);
        if let Some((holder, _)) = holder {
            self.perhaps.extend(made.wanted_on().cloned());
            return Ok(holder.clone());
        }
        self.replace(id, Some(made));
        Ok(id.to_owned())
    }

    /// Whether a relation may be set to this id.
    fn is_template(&self, id: Option<&String>) -> bool {
        id.is_none_or(|id| self.templates.contains_key(id))
    }

    fn is_site(&self, id: Option<&String>) -> bool {
        id.is_none_or(|id| self.sites.contains_key(id))
    }

    /// Applies changes to a package.
    pub(super) fn altered(items: &[ModelResource], alter: &[PackageChange]) -> Vec<ModelResource> {
        let mut items = items.to_vec();
        for alter in alter {
            match alter {
                // Set, not merged: the old resource is replaced completely.
                PackageChange::Set(new) => {
                    match items.iter_mut().find(|i| i.slot() == new.slot()) {
                        Some(place) => *place = new.clone(),
                        None => items.push(new.clone()),
                    }
                }
                PackageChange::Drop(slot) => items.retain(|item| item.slot() != *slot),
                of_head => {
                    for item in &mut items {
                        let ModelResource::Head(head) = item else {
                            continue;
                        };
                        match of_head {
                            PackageChange::Template(id) => head.template = id.map(template_name),
                            PackageChange::Site(id) => head.site = id.map(site_name),
                            PackageChange::Prepared(is) => head.prepared = *is,
                            PackageChange::Approved(is) => head.approved = *is,
                            PackageChange::Set(_) | PackageChange::Drop(_) => {}
                        }
                    }
                }
            }
        }
        items
    }

    pub(super) fn modify(&mut self, id: &str, items: &[ModelResource]) -> Result<(), ErrorKind> {
        let old = self.deployments.get(id).ok_or(NotFound)?.clone();
        let mut new = old.clone();
        new.items = items.to_vec();
        if head_of(&new.items).is_none() {
            // A missing Deployment resource returns unchanged, at its old place.
            let at = old
                .items
                .iter()
                .position(|item| matches!(item, ModelResource::Head(_)));
            let at = at.unwrap_or(0).min(new.items.len());
            new.items
                .insert(at, ModelResource::Head(old.head().clone()));
        }
        let said = new.head().clone();
        if said.approved && !said.prepared && !old.head().approved {
            return Err(BadArgument);
        }
        for item in &mut new.items {
            if let ModelResource::Head(head) = item {
                head.approved &= head.prepared;
            }
        }
        // The content would still be that of the first template.
        if let (Some(named), Some(before)) = (&said.template, &old.head().template)
            && named != before
        {
            return Err(BadArgument);
        }
        if said.template.is_none() && old.template.is_some() {
            return Err(BadArgument);
        }
        // The relation follows the package only when the value changes, or when its template or its
        // site is back.
        if said.template != old.head().template {
            new.template = said.template;
        } else if new.template.is_none() {
            new.template = said.template.filter(|id| self.is_template(Some(id)));
        }
        if said.site != old.head().site {
            new.site = said.site;
        } else if new.site.is_none() {
            new.site = said.site.filter(|id| self.sites.contains_key(id));
        }
        let known = (new.template == old.template || self.is_template(new.template.as_ref()))
            && (new.site == old.site || self.is_site(new.site.as_ref()));
        if !known || !is_valid(&new.items, new.head().prepared) {
            return Err(BadArgument);
        }
        self.replace(id, Some(new));
        Ok(())
    }

    /// The deployments that match.
    pub(super) fn chosen(&self, choice: &MatchChoice, parent: Option<&String>) -> Vec<String> {
        let word = |metadata: &Words| {
            let said = metadata.get("X.word");
            choice
                .word
                .is_none_or(|word| said == Some(&word.to_string()))
        };
        let names = |wanted: Option<String>, id: &Option<String>| wanted.is_none() || wanted == *id;
        match choice.kind {
            0 => {
                let found = self.templates.iter().filter(|(_, t)| word(&t.metadata()));
                found.map(|(id, _)| id.clone()).collect()
            }
            1 => {
                let found = self.sites.iter().filter(|(_, site)| {
                    word(&site.metadata())
                        && names(choice.template.map(template_name), &site.template)
                });
                found.map(|(id, _)| id.clone()).collect()
            }
            _ => {
                let found = self.deployments.iter().filter(|(_, d)| {
                    word(&d.metadata())
                        && names(choice.template.map(template_name), &d.template)
                        && names(choice.site.map(site_name), &d.site)
                        && names(parent.cloned(), &d.parent)
                        && choice.prepared.is_none_or(|is| is == d.head().prepared)
                        && choice.approved.is_none_or(|is| is == d.head().approved)
                });
                found.map(|(id, _)| id.clone()).collect()
            }
        }
    }

    /// Approves the matches. Returns their number.
    pub(super) fn approve(&mut self, choice: &MatchChoice, parent: Option<&String>) -> u64 {
        let mut done = 0;
        for id in self.chosen(choice, parent) {
            let mut new = self.deployments[&id].clone();
            if !new.head().prepared || new.head().approved {
                continue;
            }
            for item in &mut new.items {
                if let ModelResource::Head(head) = item {
                    head.approved = true;
                }
            }
            self.replace(&id, Some(new));
            done += 1;
        }
        done
    }

    pub(super) fn delete_template(&mut self, id: &str) -> Result<(), ErrorKind> {
        self.templates.remove(id).ok_or(NotFound)?;
        for site in self.sites.values_mut() {
            site.template.take_if(|template| template == id);
        }
        for deployment in self.deployments.values_mut() {
            deployment.template.take_if(|template| template == id);
        }
        Ok(())
    }

    pub(super) fn delete_site(&mut self, id: &str) -> Result<(), ErrorKind> {
        self.sites.remove(id).ok_or(NotFound)?;
        for deployment in self.deployments.values_mut() {
            deployment.site.take_if(|site| site == id);
        }
        self.unscheduled.remove(id);
        Ok(())
    }

    pub(super) fn delete_deployment(&mut self, id: &str) -> Result<(), ErrorKind> {
        self.deployments.get(id).ok_or(NotFound)?;
        for deployment in self.deployments.values_mut() {
            deployment.parent.take_if(|parent| parent == id);
        }
        self.replace(id, None);
        self.unprepared.remove(id);
        Ok(())
    }

    /// Puts or removes a deployment, and notes the sites that become due.
    fn replace(&mut self, id: &str, new: Option<ModelDeployment>) {
        let is = new.as_ref().and_then(ModelDeployment::wanted_on).cloned();
        let prepared = new.as_ref().is_none_or(|new| new.head().prepared);
        let items = new.as_ref().map(|new| new.items.clone());
        let old = match new {
            Some(new) => self.deployments.insert(id.to_owned(), new),
            None => self.deployments.remove(id),
        };
        let was = old.as_ref().and_then(ModelDeployment::wanted_on).cloned();
        let changed = items != old.map(|old| old.items);
        if changed && !prepared {
            self.unprepared.insert(id.to_owned());
        }
        if was != is {
            self.unscheduled.extend(was);
        } else if !changed {
            return;
        }
        self.unscheduled.extend(is);
    }
}
